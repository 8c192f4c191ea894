/* Public keys of many signatures in one call, outside the interpreter lock.
 *
 * What lives here: a loop around libsecp256k1's recovery. What must never live here: which
 * signatures are well formed, or what an address is; `signatures.py` says that, and does the same
 * without this module where there is none.
 *
 * Why. A binding gives the lock up for the 35 us of one recovery and then waits for it again: next
 * to a busy loop it gets it once in a switch interval, so a thread of recoveries stood still for
 * most of its time. Here it is given up once for all of them.
 *
 * The library is the one that coincurve carries: its functions come as addresses. The sizes of its
 * two opaque structures are part of its binary interface.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { SIGNATURE = 65, COMPACT = 64, DIGEST = 32, POINT = 64, FORM = 65, UNCOMPRESSED = 2 };

typedef struct { unsigned char data[65]; } signature_t;
typedef struct { unsigned char data[64]; } key_t_;

typedef int (*parse_t)(const void *, signature_t *, const unsigned char *, int);
typedef int (*recover_t)(const void *, key_t_ *, const signature_t *, const unsigned char *);
typedef int (*serialize_t)(const void *, unsigned char *, size_t *, const key_t_ *, unsigned int);

static PyObject *
recover_points(PyObject *self, PyObject *arguments)
{
    unsigned long long context, parse, recover, serialize;
    Py_buffer signatures, digests;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "(KKKK)y*y*", &context, &parse, &recover, &serialize,
                          &signatures, &digests))
        return NULL;
    Py_ssize_t count = signatures.len / SIGNATURE;
    PyObject *points = NULL;
    if (signatures.len != count * SIGNATURE || digests.len != count * DIGEST)
        PyErr_SetString(PyExc_ValueError, "a signature has 65 bytes and a digest 32");
    else
        points = PyBytes_FromStringAndSize(NULL, count * POINT);
    if (points != NULL) {
        unsigned char *out = (unsigned char *)PyBytes_AS_STRING(points);
        const unsigned char *from = signatures.buf, *digest = digests.buf;
        const void *library = (const void *)(uintptr_t)context;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t n = 0; n < count; n++) {
            signature_t parsed;
            key_t_ key;
            unsigned char form[FORM];
            size_t size = FORM;
            const unsigned char *one = from + n * SIGNATURE;
            if (one[COMPACT] <= 1
                && ((parse_t)(uintptr_t)parse)(library, &parsed, one, one[COMPACT])
                && ((recover_t)(uintptr_t)recover)(library, &key, &parsed, digest + n * DIGEST)
                && ((serialize_t)(uintptr_t)serialize)(library, form, &size, &key, UNCOMPRESSED))
                memcpy(out + n * POINT, form + 1, POINT);
            else
                memset(out + n * POINT, 0, POINT);
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&signatures);
    PyBuffer_Release(&digests);
    return points;
}

static PyMethodDef methods[] = {
    {"recover_points", recover_points, METH_VARARGS,
     "((context, parse, recover, serialize), 65-byte signatures, 32-byte digests) -> x || y each, "
     "64 zero bytes where no key can have signed."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "recovery", NULL, -1, methods};

PyMODINIT_FUNC
PyInit_recovery(void)
{
    return PyModule_Create(&module);
}
