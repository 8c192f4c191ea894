/* prelude.h: what the generated C stands on.

   Memory is two regions, M (committed) and S (scratch), each a length and a pointer, by value.
   Every access is checked; a failed check calls rialto_trap, which does not return: the guest of a
   proof supplies it, a shared library (RIALTO_HOSTED) jumps back into the wrapper of the entry.
   Arithmetic goes through unsigned words, so the result does not depend on -fwrapv.

   Modes, chosen by macro; without any: bounds checks, wrapping arithmetic.
     RIALTO_WITNESS    an access to M also needs its leaf to be marked in rialto_present
     RIALTO_TRACE      accesses to M are marked by leaf in rialto_read and rialto_written
     RIALTO_OVERFLOW   a result outside 64 bits traps, and so does the division of a negative value,
                       where C and Python round differently (tests)
     RIALTO_UNCHECKED  no bounds checks (measurements only) */
#ifndef RIALTO_PRELUDE_H
#define RIALTO_PRELUDE_H

#include <stdbool.h>
#include <stdint.h>

typedef int64_t i64;
typedef uint64_t u64;
typedef uint8_t u8;
typedef struct { i64 len; i64 *items; } vec;
typedef struct { i64 len; const u8 *items; } bytes;

enum { TRAP_BOUNDS = 1, TRAP_ABSENT = 2, TRAP_DIVISION = 3, TRAP_OVERFLOW = 4 };

#define LEAF_SHIFT 5 /* 32 words, 256 bytes */

_Noreturn void rialto_trap(int code);
#define TRAP_IF(x, code) do { if (__builtin_expect(!!(x), 0)) rialto_trap(code); } while (0)

#ifdef RIALTO_HOSTED
#include <setjmp.h>
static _Thread_local jmp_buf rialto_return;
_Noreturn void rialto_trap(int code) { longjmp(rialto_return, code); }
#endif

/* One byte for each leaf of M; the host points them at memory of its own. */
#ifdef RIALTO_WITNESS
extern u8 *rialto_present;
#define NEED(i) TRAP_IF(!rialto_present[(u64)(i) >> LEAF_SHIFT], TRAP_ABSENT)
#ifdef RIALTO_HOSTED
u8 *rialto_present;
#endif
#else
#define NEED(i) ((void)0)
#endif

#ifdef RIALTO_TRACE
extern u8 *rialto_read, *rialto_written;
#define SEE_READ(i) ((void)(rialto_read[(u64)(i) >> LEAF_SHIFT] = 1))
#define SEE_WRITE(i) ((void)(rialto_written[(u64)(i) >> LEAF_SHIFT] = 1))
#ifdef RIALTO_HOSTED
u8 *rialto_read, *rialto_written;
#endif
#else
#define SEE_READ(i) ((void)0)
#define SEE_WRITE(i) ((void)0)
#endif

/* The unsigned comparison catches negative indexes as well. */
#ifdef RIALTO_UNCHECKED
#define BOUND(v, i) ((void)0)
#else
#define BOUND(v, i) TRAP_IF((u64)(i) >= (u64)(v).len, TRAP_BOUNDS)
#endif

static inline i64 LOAD_M(vec v, i64 i) { BOUND(v, i); NEED(i); SEE_READ(i); return v.items[i]; }
static inline i64 LOAD_S(vec v, i64 i) { BOUND(v, i); return v.items[i]; }
static inline void STORE_M(vec v, i64 i, i64 x) {
    BOUND(v, i); NEED(i); SEE_WRITE(i); v.items[i] = x;
}
static inline void STORE_S(vec v, i64 i, i64 x) { BOUND(v, i); v.items[i] = x; }

static inline i64 READ_I64_LE(bytes b, i64 i) {
    TRAP_IF(i < 0 || i > b.len - 8, TRAP_BOUNDS);
    const u8 *p = b.items + i;
    return (i64)((u64)p[0] | (u64)p[1] << 8 | (u64)p[2] << 16 | (u64)p[3] << 24
               | (u64)p[4] << 32 | (u64)p[5] << 40 | (u64)p[6] << 48 | (u64)p[7] << 56);
}

/* W...: modulo 2^64 in every mode, for the functions in which that is meant. */
static inline i64 WADD(i64 a, i64 b) { return (i64)((u64)a + (u64)b); }
static inline i64 WSUB(i64 a, i64 b) { return (i64)((u64)a - (u64)b); }
static inline i64 WMUL(i64 a, i64 b) { return (i64)((u64)a * (u64)b); }
static inline i64 WNEG(i64 a) { return (i64)(0 - (u64)a); }
static inline i64 WSHL(i64 a, i64 count) { return (i64)((u64)a << count); }

#ifdef RIALTO_OVERFLOW
static inline i64 ADD(i64 a, i64 b) {
    i64 r;
    TRAP_IF(__builtin_add_overflow(a, b, &r), TRAP_OVERFLOW);
    return r;
}
static inline i64 SUB(i64 a, i64 b) {
    i64 r;
    TRAP_IF(__builtin_sub_overflow(a, b, &r), TRAP_OVERFLOW);
    return r;
}
static inline i64 MUL(i64 a, i64 b) {
    i64 r;
    TRAP_IF(__builtin_mul_overflow(a, b, &r), TRAP_OVERFLOW);
    return r;
}
static inline i64 NEG(i64 a) { return SUB(0, a); }
static inline i64 SHL(i64 a, i64 count) {
    i64 r = WSHL(a, count);
    TRAP_IF(r >> count != a, TRAP_OVERFLOW);
    return r;
}
#define DIVISIBLE(a, b) TRAP_IF((a) < 0 || (b) <= 0, TRAP_DIVISION)
#else
#define ADD WADD
#define SUB WSUB
#define MUL WMUL
#define NEG WNEG
#define SHL WSHL
#define DIVISIBLE(a, b) TRAP_IF((b) <= 0, TRAP_DIVISION)
#endif

/* The subset only shifts by 0..63; >> of a negative value is arithmetic in gcc and clang. */
static inline i64 SHR(i64 a, i64 count) { return a >> count; }
static inline i64 DIV(i64 a, i64 b) { DIVISIBLE(a, b); return a / b; }
static inline i64 MOD(i64 a, i64 b) { DIVISIBLE(a, b); return a % b; }

#endif
