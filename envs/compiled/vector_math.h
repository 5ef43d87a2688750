/* Functions on lanes: V holds LP_LANES numbers of type LP_REAL (float or double), both set before this text.
 *
 * float: without branches, at most 2 ulp off (v_sigmoid 3); sine and cosine for |x| <= 200. double: the C
 * library, lane by lane. NaN goes through, also through the first argument of v_min and v_max. Needs GCC's
 * vector extensions (clang has them too); must not be built with -ffast-math. Polynomials: Cephes.
 */
#ifndef LP_VECTOR_MATH_H
#define LP_VECTOR_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#ifdef __FAST_MATH__
#error "vector_math.h needs exact rounding; build without -ffast-math"
#endif
#define LP_IS_float 0
#define LP_IS_double 1
#define LP_JOIN_(a, b) a##b
#define LP_JOIN(a, b) LP_JOIN_(a, b)
#define LP_DOUBLE LP_JOIN(LP_IS_, LP_REAL)

#if LP_DOUBLE
typedef int64_t LP_INT;
#define LP_BYTES (LP_LANES * 8)
#else
typedef int32_t LP_INT;
#define LP_BYTES (LP_LANES * 4)
#endif
typedef LP_REAL V __attribute__((vector_size(LP_BYTES)));
typedef LP_INT VI __attribute__((vector_size(LP_BYTES))); /* whole numbers and masks: all bits set = true */

#define LP_INLINE static inline __attribute__((always_inline, unused))

/* The same number in all lanes. */
LP_INLINE V v_set(LP_REAL x) { return x - (V){0}; }

LP_INLINE VI v_set_int(LP_INT x) { return x - (VI){0}; }

/* Lanes from and to LP_LANES numbers at any address. */
LP_INLINE V v_load(const LP_REAL *p) {
    V x;
    memcpy(&x, p, LP_BYTES);
    return x;
}

LP_INLINE void v_store(LP_REAL *p, V x) { memcpy(p, &x, LP_BYTES); }

/* x where the mask is set, else y. The compiler makes one blend of it. */
LP_INLINE V v_where(VI mask, V x, V y) { return (V)((mask & (VI)x) | (~mask & (VI)y)); }

/* x where a > b, else y; y where one of them is NaN. */
LP_INLINE V v_select(V a, V b, V x, V y) { return v_where((VI)(a > b), x, y); }

LP_INLINE V v_min(V x, V y) { return v_where((VI)(y < x), y, x); }

LP_INLINE V v_max(V x, V y) { return v_where((VI)(y > x), y, x); }

LP_INLINE V v_abs(V x) { return (V)((VI)x & ~(VI)v_set((LP_REAL)-0.0)); }

/* The magnitude of x with the sign of s. */
LP_INLINE V v_copysign(V x, V s) {
    const VI sign = (VI)v_set((LP_REAL)-0.0);
    return (V)(((VI)x & ~sign) | ((VI)s & sign));
}

/* Sum over the lanes, in a fixed order. */
LP_INLINE LP_REAL v_sum(V x) {
    LP_REAL total = 0;
    for (int i = 0; i < LP_LANES; i++) total += x[i];
    return total;
}

#define LP_EACH_LANE(name, function)                            \
    LP_INLINE V name(V x) {                                     \
        V y;                                                    \
        for (int i = 0; i < LP_LANES; i++) y[i] = function(x[i]); \
        return y;                                               \
    }

#if LP_DOUBLE

#if LP_BYTES == 64 && defined(__AVX512F__)
LP_INLINE V v_sqrt(V x) { return (V)_mm512_sqrt_pd((__m512d)x); }
#elif LP_BYTES == 32 && defined(__AVX__)
LP_INLINE V v_sqrt(V x) { return (V)_mm256_sqrt_pd((__m256d)x); }
#elif LP_BYTES == 16 && defined(__SSE2__)
LP_INLINE V v_sqrt(V x) { return (V)_mm_sqrt_pd((__m128d)x); }
#else
LP_EACH_LANE(v_sqrt, sqrt)
#endif
LP_EACH_LANE(v_sin, sin)
LP_EACH_LANE(v_cos, cos)
LP_EACH_LANE(v_exp, exp)
LP_EACH_LANE(v_tanh, tanh)
LP_EACH_LANE(v_log, log)
LP_EACH_LANE(v_log1p, log1p)

#else /* float */

#if LP_BYTES == 64 && defined(__AVX512F__)
LP_INLINE V v_sqrt(V x) { return (V)_mm512_sqrt_ps((__m512)x); }
#elif LP_BYTES == 32 && defined(__AVX__)
LP_INLINE V v_sqrt(V x) { return (V)_mm256_sqrt_ps((__m256)x); }
#elif LP_BYTES == 16 && defined(__SSE2__)
LP_INLINE V v_sqrt(V x) { return (V)_mm_sqrt_ps((__m128)x); }
#else
LP_EACH_LANE(v_sqrt, sqrtf)
#endif

/* Added to |x| < 2^22 it leaves round(x) in the low bits; subtracted again, the rounded number. */
#define LP_ROUND 0x1.8p23f

/* x less the nearest multiple of pi/2; the low two bits of *quarter say which. Two exact steps in parts of
 * 17 bits, whose rounding is kept and put back, hold the last bit for |x| <= 200. */
LP_INLINE V v_reduce_angle(V x, VI *quarter) {
    const V shifted = x * v_set(0x1.45f306p-1f) + LP_ROUND, n = shifted - LP_ROUND;
    *quarter = (VI)shifted;
    const V far = x - n * 0x1.921fp+0f;
    const V near = far - n * 0x1.6a88p-17f;
    const V lost = (far - near) - n * 0x1.6a88p-17f;
    return near + (lost - n * 0x1.0b4612p-34f);
}

LP_INLINE V v_sin_small(V r) {
    const V z = r * r;
    return r + r * z * (-1.6666654611e-1f + z * (8.3321608736e-3f + z * -1.9515295891e-4f));
}

LP_INLINE V v_cos_small(V r) {
    const V z = r * r;
    return 1.0f - (0.5f * z - z * z * (4.166664568298827e-2f + z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f)));
}

LP_INLINE V v_sin(V x) {
    VI quarter;
    const V r = v_reduce_angle(x, &quarter);
    const V y = v_where((quarter & 1) != 0, v_cos_small(r), v_sin_small(r));
    return (V)((VI)y ^ ((quarter & 2) << 30));
}

LP_INLINE V v_cos(V x) {
    VI quarter;
    const V r = v_reduce_angle(x, &quarter);
    const V y = v_where((quarter & 1) != 0, v_sin_small(r), v_cos_small(r));
    return (V)((VI)y ^ (((quarter + 1) & 2) << 30));
}

/* exp(x): 2^n * exp(r) with |r| <= ln(2) / 2. Scaled in two halves, so that it ends in 0 and infinity. */
LP_INLINE V v_exp(V x) {
    x = v_max(v_min(x, v_set(89.0f)), v_set(-104.0f));
    const V shifted = x * v_set(0x1.715476p+0f) + LP_ROUND, n = shifted - LP_ROUND;
    const V r = (x - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f;
    V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    const VI whole = (VI)shifted - (VI)v_set(LP_ROUND), half = whole >> 1;
    return p * (V)((half + 127) << 23) * (V)((whole - half + 127) << 23);
}

/* tanh(x): an odd polynomial below 0.625, beyond it by exp. */
LP_INLINE V v_tanh(V x) {
    const V size = v_abs(x), z = x * x;
    V p = z * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * z + -5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z + -3.33332819422e-1f;
    const V large = 1.0f - 2.0f / (v_exp(size + size) + 1.0f);
    return v_copysign(v_where((VI)(size < v_set(0.625f)), p * z * size + size, large), x);
}

/* log of 2^e * (1 + f), sqrt(1/2) <= 1 + f < sqrt(2). tail: a small number to add to the logarithm. */
LP_INLINE V v_log_parts(V f, V e, V tail) {
    const V z = f * f;
    V p = f * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    const V small = f * z * p + (tail + e * -0x1.bd0106p-13f) - 0.5f * z;
    return (f + small) + e * 0x1.63p-1f;
}

/* 1 + f with sqrt(1/2) <= 1 + f < sqrt(2), and the exponent e, of a positive normal x; returns f. */
LP_INLINE V v_split(V x, V *e) {
    const VI shifted = (VI)x - 0x3f3504f3; /* sqrt(1/2) */
    const VI whole = shifted >> 23;
    *e = __builtin_convertvector(whole, V);
    return (V)((VI)x - (whole << 23)) - 1.0f;
}

LP_INLINE V v_log(V x) {
    const VI tiny = (VI)(x < v_set(0x1p-126f));
    V e;
    const V f = v_split(v_where(tiny, x * 0x1p24f, x), &e);
    V y = v_log_parts(f, e - v_where(tiny, v_set(24.0f), v_set(0.0f)), v_set(0.0f));
    y = v_where((VI)(x < v_set(INFINITY)), y, x); /* infinity and NaN */
    y = v_where((VI)(x == v_set(0.0f)), v_set(-INFINITY), y);
    return v_where((VI)(x < v_set(0.0f)), v_set(NAN), y);
}

/* log(1 + x); what 1 + x rounds away is put back. */
LP_INLINE V v_log1p(V x) {
    const V u = 1.0f + x;
    const VI big = (VI)(x > v_set(1.0f));
    const V lost = v_where(big, 1.0f - (u - x), x - (u - 1.0f));
    V e;
    const V f = v_split(u, &e);
    V y = v_log_parts(f, e, lost / u);
    y = v_where((VI)(v_abs(x) < v_set(0x1p-24f)), x, y);
    y = v_where((VI)(x < v_set(INFINITY)), y, x);
    y = v_where((VI)(x == v_set(-1.0f)), v_set(-INFINITY), y);
    return v_where((VI)(x < v_set(-1.0f)), v_set(NAN), y);
}

#endif /* float */

/* log(1 + exp(x)), its slope is v_sigmoid(x). */
LP_INLINE V v_softplus(V x) { return v_max(x, v_set(0)) + v_log1p(v_exp(-v_abs(x))); }

/* 1 / (1 + exp(-x)), from the exponential that cannot overflow. */
LP_INLINE V v_sigmoid(V x) {
    const V e = v_exp(-v_abs(x));
    return v_where((VI)(x < v_set(0)), e, v_set(1)) / (v_set(1) + e);
}

#endif
