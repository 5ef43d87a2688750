/* tanh for sequences, where half of the time would go into that of vector_math.h: four times as short, not more than 1, and
 * at most 4e-7 off (a tanh of float64 is the C library's). A minimax quotient of x, fitted where float32 tells it from 1. */

#if !LP_DOUBLE
LP_INLINE V short_tanh(V x) {
    x = v_max(v_min(x, v_set(7.9f)), v_set(-7.9f));
    const V z = x * x;
    V over = z * 1.542795905e-8f + 2.202323555e-5f, under = z * 8.598774586e-7f + 3.423649611e-4f;
    over = over * z + 3.578991453e-3f, under = under * z + 2.619223577e-2f;
    over = over * z + 1.345062009e-1f, under = under * z + 4.678394809e-1f;
    over = over * z + 1.0f, under = under * z + 1.0f;
    return over * x / under;
}
#define v_tanh short_tanh
#endif
