/* replay.c: a recorded run, repeated by generated C and compared after every step.

   Appended to the C of the core (RIALTO_HOSTED, RIALTO_OVERFLOW). A step is its kind, how many words
   follow, and those words; what they mean is written in corpus.py, which records them. `rialto_replay`
   returns 0 if every fault, event, mark and image was as recorded, else 1 or the code of a trap. */
#include <string.h>

enum { GENESIS = 1, OPEN, ROWS, KEEP, IMAGE, SEAL, UNDO };

i64 rialto_mutant; /* which of the changed functions runs; 0: none */
int rialto_replay(vec M, vec S, i64 *before, i64 *now, const i64 *steps, i64 words);

static int same_events(vec S, i64 words, const i64 *events) {
    i64 got = S.items[K_S_EVENT] - K_S_EVENTS;
    S.items[K_S_EVENT] = K_S_EVENTS;
    return got == words && memcmp(S.items + K_S_EVENTS, events, (size_t)words * 8) == 0;
}

/* Diffs are pairs: word, value. */
static int same_image(vec M, i64 *now, i64 end, i64 n, const i64 *diffs) {
    for (i64 i = 0; i < n; i += 2) now[diffs[i]] = diffs[i + 1];
    return memcmp(M.items, now, (size_t)end * 8) == 0;
}

/* What changed since the last seal must be marked, or the root would not follow. */
static int marked(vec S, i64 *before, i64 *now, i64 end) {
    const i64 leaf = 1 << LEAF_SHIFT;
    for (i64 at = 0; at < end; at += leaf) {
        if (memcmp(before + at, now + at, (size_t)leaf * 8) == 0) continue;
        if (S.items[K_S_MARKS + (at >> LEAF_SHIFT)] != 1) return 0;
        memcpy(before + at, now + at, (size_t)leaf * 8);
    }
    return 1;
}

int rialto_replay(vec M, vec S, i64 *before, i64 *now, const i64 *steps, i64 words) {
    i64 result = 0, at;
    int code = rialto_call_tables(S, &result);
    for (at = 0; at < words && code == 0; at += steps[at + 1] + 2) {
        const i64 *step = steps + at + 2;
        i64 n = steps[at + 1], rows;
        switch (steps[at]) {
        case GENESIS: /* key, account, low, signer in three words, row in eight */
            S.items[K_S_KEY] = step[0];
            S.items[K_S_ACCOUNT] = step[1];
            S.items[K_S_LOW] = step[2];
            memcpy(S.items + K_S_SIGNER, step + 3, 24);
            code = rialto_call_operate(M, S, (bytes){64, (const u8 *)(step + 6)}, 0, &result);
            S.items[K_S_EVENT] = K_S_EVENTS;
            break;
        case OPEN: /* height, time, L1 origin */
            code = rialto_call_open_block(M, S, step[0], step[1], step[2], &result);
            break;
        case ROWS: /* fault, phase, words of rows, rows, events */
            rows = step[2];
            code = rialto_call_execute(M, S, (bytes){rows * 8, (const u8 *)(step + 3)}, 0, rows * 8,
                                       step[1], &result);
            if (code) return code;
            if (S.items[K_S_FAULT] != step[0] || result != (step[0] ? 0 : rows * 8)) return 1;
            if (!same_events(S, n - 3 - rows, step + 3 + rows)) return 1;
            break;
        case KEEP: /* events */
            code = rialto_call_housekeeping(M, S, &result);
            if (code) return code;
            if (!same_events(S, n, step)) return 1;
            break;
        case IMAGE: /* end of the image, diffs */
            if (!same_image(M, now, step[0], n - 1, step + 1)) return 1;
            break;
        case SEAL: /* end of the image */
            if (!marked(S, before, now, step[0])) return 1;
            code = rialto_call_forget(S, &result);
            if (S.items[K_S_DIRTY] != 0) return 1;
            break;
        case UNDO: /* end of the image */
            code = rialto_call_undo(M, S, &result);
            if (code == 0) code = rialto_call_forget(S, &result);
            S.items[K_S_EVENT] = K_S_EVENTS;
            memcpy(now, before, (size_t)step[0] * 8);
            if (memcmp(M.items, now, (size_t)step[0] * 8) != 0) return 1;
            break;
        }
    }
    return code;
}
