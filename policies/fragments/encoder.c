/* The encoder of a flow grid (`liquid_pilot.encoder`): its step, its derivative and that of its weights.
 *
 * Set before: ENC_IN, ENC_HIDDEN, ENC_OUT, ENC_PER_M_S. A tape holds the inputs, which the caller puts there, and then what
 * the derivative needs; the weights are in the order of `EncoderSpec.shapes`. */

enum {
    ENC_T_HIDDEN = ENC_IN,
    ENC_T_OUT = ENC_T_HIDDEN + ENC_HIDDEN,
    ENC_TAPE = ENC_T_OUT + ENC_OUT,
    ENC_DELTA = ENC_HIDDEN + ENC_OUT,
    ENC_SECOND = ENC_HIDDEN * (ENC_IN + 1),
    ENC_WEIGHTS = ENC_SECOND + ENC_OUT * (ENC_HIDDEN + 1)
};

static void enc_step(const LP_REAL *w, V *tape, V *features) {
    V *hidden = tape + ENC_T_HIDDEN;
    dense(ENC_HIDDEN, ENC_IN, w, tape, hidden);
    for (int i = 0; i < ENC_HIDDEN; ++i)
        hidden[i] = v_where((VI)(hidden[i] > 0), hidden[i], v_exp(v_min(hidden[i], v_set(0))) - 1);
    dense(ENC_OUT, ENC_HIDDEN, w + ENC_SECOND, hidden, features);
    for (int i = 0; i < ENC_OUT; ++i) tape[ENC_T_OUT + i] = features[i] = v_tanh(features[i]);
}

static void enc_vjp(const LP_REAL *w, const V *tape, const V *bar_features, V *delta) {
    V bar[ENC_HIDDEN];
    for (int i = 0; i < ENC_OUT; ++i) {
        V y = tape[ENC_T_OUT + i];
        delta[ENC_HIDDEN + i] = bar_features[i] * (1 - y * y);
    }
    for (int i = 0; i < ENC_HIDDEN; ++i) bar[i] = v_set(0);
    dense_back(ENC_OUT, ENC_HIDDEN, 0, w + ENC_SECOND, delta + ENC_HIDDEN, bar);
    for (int i = 0; i < ENC_HIDDEN; ++i) {
        V y = tape[ENC_T_HIDDEN + i];
        delta[i] = bar[i] * v_where((VI)(y > 0), v_set(1), y + 1);
    }
}

static void enc_gradient(int grids, const V *const *tapes, const V *delta, V *gradient) {
    dense_gradient(ENC_HIDDEN, ENC_IN, grids, tapes, 0, delta, ENC_DELTA, gradient);
    dense_gradient(ENC_OUT, ENC_HIDDEN, grids, tapes, ENC_T_HIDDEN, delta + ENC_HIDDEN, ENC_DELTA, gradient + ENC_SECOND);
}
