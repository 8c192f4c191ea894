/* hostile.c: one group after the other against the same state, each judged and taken back.

   Appended to the generated C. Every record is a group of one operation, `SIZE` bytes. It runs on
   the state as it is, in a block that is open; then: a fault leaves no event and no changed word; a
   refusal changes nothing but what admission changes (sequence, nonce, rate tokens, L1 counter),
   and only removals of dead orders, which are due to whoever meets them, may stand beside it.
   `answers` gets two bytes for each record: 0 and the fault - 4000, or kind and reason of its last
   event. Returns 0, the code of a trap, or one of the codes below; `*reached` is the record in
   question. */
enum { SIZE = 128, FAULT_UNKNOWN = 101, FAULT_SPOKE, FAULT_WROTE, STOPPED_SHORT, NO_EVENT,
       KIND_UNKNOWN, REFUSAL_UNKNOWN, REFUSAL_NOT_LAST, REFUSAL_BESIDE, REFUSAL_WROTE };

int rialto_hostile(vec M, vec S, bytes rows, i64 phase, u8 *answers, i64 *reached);

/* Whether admitting a group may change this word. */
static bool hostile_admission(vec M, vec S, i64 word) {
    i64 account = M.items[AT_ACCOUNTS] + (S.items[S_ACCOUNT] << 5), key = S.items[S_KEY_AT];
    if (word == SEQUENCE) return true;
    if (S.items[S_KEY] >= KEY_DEPOSIT) return word == L1_MESSAGES;
    if (word >= key + KEY_NONCE && word < key + KEY_SEEN + 4) return true;
    return S.items[S_KEY] != KEY_GOVERNANCE
        && (word == account + ACCOUNT_TOKENS || word == account + ACCOUNT_REFILLED);
}

/* Whether a dirty leaf differs from its image in a word that it must not. */
static bool hostile_wrote(vec M, vec S, bool admitted) {
    for (i64 n = 0; n < S.items[S_DIRTY]; n++) {
        i64 first = S.items[S.items[S_LIST] + n] << LEAF_SHIFT;
        const i64 *image = S.items + S.items[S_IMAGES] + (n << LEAF_SHIFT);
        for (i64 j = 0; j < 1 << LEAF_SHIFT; j++) {
            if (M.items[first + j] == image[j]) continue;
            if (!admitted || !hostile_admission(M, S, first + j)) return true;
        }
    }
    return false;
}

static int hostile_judge(vec M, vec S, u8 *answer) {
    i64 fault = S.items[S_FAULT], end = S.items[S_EVENT];
    if (fault != 0) {
        if (fault < FAULT_FIRST || fault > FAULT_LAST) return FAULT_UNKNOWN;
        answer[1] = (u8)(fault - 4000);
        if (end != S_EVENTS) return FAULT_SPOKE;
        return hostile_wrote(M, S, false) ? FAULT_WROTE : 0;
    }
    if (end == S_EVENTS) return NO_EVENT;
    answer[0] = (u8)S.items[end - 8];
    answer[1] = (u8)(S.items[end - 8] >> 8);
    for (i64 at = S_EVENTS; at < end; at += 8) {
        i64 kind = S.items[at] & 255, reason = S.items[at] >> 8 & 255;
        bool last = at == end - 8, removal = kind == EVENT_CANCELED && reason == REASON_EXPIRED;
        if (kind < 1 || kind > EVENT_LAST) return KIND_UNKNOWN;
        if (kind == EVENT_REFUSED && !last) return REFUSAL_NOT_LAST;
        if (answer[0] == EVENT_REFUSED && !last && !removal) return REFUSAL_BESIDE;
    }
    if (answer[0] != EVENT_REFUSED) return 0;
    if (answer[1] < 1 || answer[1] > REFUSAL_LAST) return REFUSAL_UNKNOWN;
    return end == S_EVENTS + 8 && hostile_wrote(M, S, true) ? REFUSAL_WROTE : 0;
}

int rialto_hostile(vec M, vec S, bytes rows, i64 phase, u8 *answers, i64 *reached) {
    int code = setjmp(rialto_return);
    if (code != 0) return code;
    for (i64 at = 0; at < rows.len; at += SIZE) {
        *reached = at / SIZE;
        rialto_open_block(M, S, M.items[HEIGHT], M.items[TIME], M.items[L1_ORIGIN]);
        i64 done = rialto_execute(M, S, rows, at, at + SIZE, phase);
        int judged = hostile_judge(M, S, answers + at / SIZE * 2);
        if (judged != 0) return judged;
        if (S.items[S_FAULT] == 0 && done != at + SIZE) return STOPPED_SHORT;
        rialto_undo(M, S);
        rialto_forget(S);
        S.items[S_EVENT] = S_EVENTS;
    }
    return 0;
}
