/* timer.c: the time of each of many calls of one Python function.

   What lives here: a clock around PyObject_Vectorcall. Around a call of a tenth of a microsecond a
   clock read from Python would cost as much as the call. Loaded by timer.py through ctypes, with
   the interpreter lock held. */
#include <Python.h>
#include <time.h>

#define ARGUMENTS_MAX 8

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Call function(M, S, rows, from, to[, last]) for the pieces [first + n * step, + step) and write
   the nanoseconds of each to `spent`. The numbers are made and freed outside the clock. A result
   other than `to` stops: returns the pieces done, -1 with an exception set. */
long long rialto_time_calls(PyObject *function, PyObject *M, PyObject *S, PyObject *rows,
                            long long first, long long step, long long count, long long last,
                            long long *spent) {
    for (long long n = 0; n < count; n++) {
        PyObject *arguments[ARGUMENTS_MAX] = {M, S, rows};
        arguments[3] = PyLong_FromLongLong(first + n * step);
        arguments[4] = PyLong_FromLongLong(first + (n + 1) * step);
        arguments[5] = PyLong_FromLongLong(last);
        if (!arguments[3] || !arguments[4] || !arguments[5]) return -1;
        long long begun = now();
        PyObject *result = PyObject_Vectorcall(function, arguments, last < 0 ? 5 : 6, NULL);
        spent[n] = now() - begun;
        long long reached = result ? PyLong_AsLongLong(result) : -1;
        Py_XDECREF(result);
        for (int k = 3; k < 6; k++) Py_DECREF(arguments[k]);
        if (PyErr_Occurred()) return -1;
        if (reached != first + (n + 1) * step) return n;
    }
    return count;
}

/* What the clock itself costs: pairs of readings with nothing between them. */
void rialto_time_nothing(long long count, long long *spent) {
    for (long long n = 0; n < count; n++) {
        long long begun = now();
        spent[n] = now() - begun;
    }
}
