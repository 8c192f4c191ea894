/* twin.c: the loops of the matcher bench around the generated C of the same core.

   Appended to what the translator makes; runs the same rows in the same batches as the Python loop
   in matcher.py, copies the events out as that one does, and returns 0 or the code of a trap. */
#include <string.h>
#include <time.h>

int rialto_bench_batches(vec M, vec S, bytes rows, i64 batch, u8 *events, i64 *report);
int rialto_bench_each(vec M, vec S, bytes rows, i64 size, i64 *spent);
int rialto_bench_close(vec M, vec S, i64 height, i64 time);

static i64 bench_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static i64 bench_take(vec S, u8 *events) {
    i64 size = (S.items[BENCH_EVENT] - BENCH_EVENTS) * 8;
    memcpy(events, S.items + BENCH_EVENTS, (size_t)size);
    S.items[BENCH_EVENT] = BENCH_EVENTS;
    return size;
}

/* All of `rows` in batches of `batch` bytes; report: nanoseconds of CPU time, bytes of events, bytes
   of rows that were run (less than given: the scratch area was full). */
int rialto_bench_batches(vec M, vec S, bytes rows, i64 batch, u8 *events, i64 *report) {
    int code = setjmp(rialto_return);
    if (code != 0) return code;
    i64 at = 0, size = 0, begun = bench_clock(CLOCK_THREAD_CPUTIME_ID);
    while (at < rows.len) {
        i64 end = at + batch < rows.len ? at + batch : rows.len;
        i64 reached = rialto_run_book(M, S, rows, at, end);
        size += bench_take(S, events + size);
        at = reached;
        if (reached != end) break;
    }
    report[0] = bench_clock(CLOCK_THREAD_CPUTIME_ID) - begun;
    report[1] = size;
    report[2] = at;
    return 0;
}

/* One call for each row of `size` bytes: the nanoseconds of each. The events are dropped. */
int rialto_bench_each(vec M, vec S, bytes rows, i64 size, i64 *spent) {
    int code = setjmp(rialto_return);
    if (code != 0) return code;
    for (i64 at = 0; at < rows.len; at += size) {
        i64 begun = bench_clock(CLOCK_MONOTONIC);
        rialto_run_book(M, S, rows, at, at + size);
        spent[at / size] = bench_clock(CLOCK_MONOTONIC) - begun;
        S.items[BENCH_EVENT] = BENCH_EVENTS;
    }
    return 0;
}

/* A block boundary. */
int rialto_bench_close(vec M, vec S, i64 height, i64 time) {
    int code = setjmp(rialto_return);
    if (code != 0) return code;
    rialto_forget(S);
    rialto_open_block(M, S, height, time, 0);
    return 0;
}
