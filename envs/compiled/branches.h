/* Which way every lane went. A build with LP_BRANCHES 1 mixes the mask of every v_select after this text into a signature
 * of the lane: those of equations and networks, and those of their derivatives, where a minimum, a maximum or |x| turns
 * into one. The insides of vector_math.h, which differ between float and double, do not sign. In 32 bits, so that float
 * and double builds sign equal ways equally.
 */
#ifndef LP_BRANCHES_H
#define LP_BRANCHES_H

#if LP_BRANCHES

typedef uint32_t Signature __attribute__((vector_size(LP_LANES * 4)));

/* among: lanes that the code now running is meant for; it must not sign for the others of the group. */
static _Thread_local struct {
    Signature signature;
    VI among;
} watched;

LP_INLINE void watch(VI mask) {
    Signature way = __builtin_convertvector(mask, Signature) & 1u;
    Signature meant = __builtin_convertvector(watched.among, Signature);
    Signature mixed = (watched.signature + way + 1u) * 0x9e3779b1u;
    mixed ^= mixed >> 15;
    watched.signature = (mixed & meant) | (watched.signature & ~meant);
}

LP_INLINE V watched_select(V a, V b, V x, V y) {
    watch((VI)(a > b));
    return v_select(a, b, x, y);
}

#define v_select watched_select
#define BRANCHES_BEGIN() (watched.signature = (Signature){0}, watched.among = v_set_int(-1))
#define BRANCHES_END(at) memcpy(at, &watched.signature, sizeof(Signature))
#define AMONG(mask, call) (watched.among = (mask), call, watched.among = v_set_int(-1))

#else

#define BRANCHES_BEGIN() ((void)0)
#define BRANCHES_END(at) ((void)0)
#define AMONG(mask, call) call

#endif
#endif
