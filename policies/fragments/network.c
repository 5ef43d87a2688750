/* Backbone, cell, readout: one step and its derivative, with all weights in one flat array.
 *
 * Set before: NET_INPUTS, NET_UNITS, NET_STATES, NET_OUTPUTS, NET_LAYERS, NET_HIDDEN, NET_RECURRENT, NET_TIME_UNIT_S and a
 * cell (NET_HEADS, NET_VECTORS, NET_CELL_TAPE, cell_step, cell_vjp; both for neurons `from` to `to`). The state is NET_STATES
 * vectors of NET_UNITS, of which the readout reads the first. NET_RECURRENT heads are linear maps of that one alone; with
 * any of them the backbone sees the inputs alone. Weights in the order of `liquid_pilot.cells.weight_shapes`.
 * A tape keeps what the derivative needs of one step; a delta what the weight gradient needs of one derivative. */

#define NET_GAIN ((LP_REAL)1.7159)
#define NET_SLOPE ((LP_REAL)0.666)

enum {
    NET_STATE = NET_STATES * NET_UNITS,
    NET_JOINED = NET_INPUTS + NET_STATE,
    NET_SEEN = NET_RECURRENT ? NET_INPUTS : NET_JOINED,
    NET_FEATURES = NET_LAYERS ? NET_HIDDEN : NET_SEEN,
    NET_ALL_HEADS = NET_HEADS + NET_RECURRENT,
    NET_READ = NET_UNITS ? NET_UNITS : NET_FEATURES,
    NET_KEPT = NET_OUTPUTS ? NET_UNITS : 0, /* of the new state in a tape; the readout alone needs it */
    /* places in a tape */
    NET_T_LAYERS = NET_JOINED,
    NET_T_FEATURES = NET_LAYERS ? NET_T_LAYERS + (NET_LAYERS - 1) * NET_HIDDEN : 0,
    NET_T_CELL = NET_T_LAYERS + NET_LAYERS * NET_HIDDEN,
    NET_T_STATE = NET_T_CELL + NET_CELL_TAPE,
    NET_T_READ = NET_UNITS ? NET_T_STATE : NET_T_FEATURES,
    NET_T_ACTION = NET_T_STATE + NET_KEPT,
    NET_TAPE = NET_T_ACTION + NET_OUTPUTS,
    /* places in a delta */
    NET_D_HEADS = NET_LAYERS * NET_HIDDEN,
    NET_D_VECTORS = NET_D_HEADS + NET_ALL_HEADS * NET_UNITS,
    NET_D_READOUT = NET_D_VECTORS + NET_VECTORS * NET_UNITS,
    NET_DELTA = NET_D_READOUT + NET_OUTPUTS,
    /* places in the weights */
    NET_FIRST = NET_LAYERS ? NET_HIDDEN * (NET_SEEN + 1) : 0,
    NET_W_HEADS = NET_FIRST + (NET_LAYERS > 1 ? (NET_LAYERS - 1) * NET_HIDDEN * (NET_HIDDEN + 1) : 0),
    NET_HEAD = NET_UNITS * (NET_FEATURES + 1),
    NET_W_RECURRENT = NET_W_HEADS + NET_HEADS * NET_HEAD,
    NET_STATE_HEAD = NET_UNITS * (NET_UNITS + 1),
    NET_W_VECTORS = NET_W_RECURRENT + NET_RECURRENT * NET_STATE_HEAD,
    NET_W_READOUT = NET_W_VECTORS + NET_VECTORS * NET_UNITS,
    NET_WEIGHTS = NET_W_READOUT + NET_OUTPUTS * (NET_READ + 1),
    NET_BLOCK = 16 /* steps whose weight gradient is gathered at once */
};

static inline int layer_weights(int layer) { return layer ? NET_FIRST + (layer - 1) * NET_HIDDEN * (NET_HIDDEN + 1) : 0; }
static inline int layer_input(int layer) { return layer ? NET_T_LAYERS + (layer - 1) * NET_HIDDEN : 0; }
static inline int layer_columns(int layer) { return layer ? NET_HIDDEN : NET_SEEN; }

/* The heads of the features that a tape holds. */
static inline void net_heads(const LP_REAL *w, const V *tape, V *heads) {
    for (int j = 0; j < NET_HEADS; ++j)
        dense(NET_UNITS, NET_FEATURES, w + NET_W_HEADS + j * NET_HEAD, tape + NET_T_FEATURES, heads + j * NET_UNITS);
}

/* bar += what a map of the features, or of [x; h], takes back; not of x where that is not asked for. */
static inline void map_back(int rows, int columns, const LP_REAL *weight, const V *delta, V *bar, int without_x) {
    if (without_x) dense_back(rows, columns, NET_INPUTS, weight, delta, bar);
    else dense_back(rows, columns, 0, weight, delta, bar);
}

/* x (inputs), h (state), seconds since the previous step -> h_next (state), action (outputs), tape. */
static void net_step(const LP_REAL *w, const V *x, const V *h, V dt_s, V *tape, V *h_next, V *action) {
    V heads[NET_ALL_HEADS * NET_UNITS + 1], dt = dt_s / v_set((LP_REAL)NET_TIME_UNIT_S);
    for (int i = 0; i < NET_INPUTS; ++i) tape[i] = x[i];
    for (int i = 0; i < NET_STATE; ++i) tape[NET_INPUTS + i] = h[i];
    for (int j = 0; j < NET_LAYERS; ++j) {
        V *out = tape + NET_T_LAYERS + j * NET_HIDDEN;
        dense(NET_HIDDEN, layer_columns(j), w + layer_weights(j), tape + layer_input(j), out);
        for (int i = 0; i < NET_HIDDEN; ++i) out[i] = NET_GAIN * v_tanh(NET_SLOPE * out[i]);
    }
    net_heads(w, tape, heads);
    for (int j = 0; j < NET_RECURRENT; ++j)
        dense(
            NET_UNITS, NET_UNITS, w + NET_W_RECURRENT + j * NET_STATE_HEAD, tape + NET_INPUTS,
            heads + (NET_HEADS + j) * NET_UNITS
        );
    cell_step(0, NET_UNITS, w + NET_W_VECTORS, heads, h, dt, tape + NET_T_CELL, h_next);
    for (int i = 0; i < NET_KEPT; ++i) tape[NET_T_STATE + i] = h_next[i];
    dense(NET_OUTPUTS, NET_READ, w + NET_W_READOUT, tape + NET_T_READ, action);
    for (int i = 0; i < NET_OUTPUTS; ++i) tape[NET_T_ACTION + i] = action[i] = v_tanh(action[i]);
}

/* bar_h_next, bar_action -> bar_x (0: not asked for), bar_h (stored) and the delta of this step. */
static void net_vjp(
    const LP_REAL *w, const V *tape, V dt_s, const V *bar_h_next, const V *bar_action, V *delta, V *bar_x, V *bar_h
) {
    V dt = dt_s / v_set((LP_REAL)NET_TIME_UNIT_S), bar_read[NET_STATE ? NET_STATE : NET_FEATURES];
    V bar[NET_JOINED + NET_HIDDEN], direct[NET_STATE + 1];
    V *bar_features = NET_UNITS ? bar : bar_read;
    for (int i = 0; i < NET_OUTPUTS; ++i) {
        V a = tape[NET_T_ACTION + i];
        delta[NET_D_READOUT + i] = bar_action[i] * (1 - a * a);
    }
    for (int i = 0; i < NET_STATE; ++i) bar_read[i] = bar_h_next[i];
    for (int i = NET_STATE; i < NET_READ; ++i) bar_read[i] = v_set(0);
    dense_back(NET_OUTPUTS, NET_READ, 0, w + NET_W_READOUT, delta + NET_D_READOUT, bar_read);
    cell_vjp(
        0, NET_UNITS, w + NET_W_VECTORS, tape + NET_T_CELL, tape + NET_INPUTS, dt, bar_read, delta + NET_D_HEADS, direct,
        delta + NET_D_VECTORS
    );
    for (int j = 0; j < NET_RECURRENT; ++j)
        dense_back(
            NET_UNITS, NET_UNITS, 0, w + NET_W_RECURRENT + j * NET_STATE_HEAD,
            delta + NET_D_HEADS + (NET_HEADS + j) * NET_UNITS, direct
        );
    if (NET_UNITS) for (int i = 0; i < NET_FEATURES; ++i) bar[i] = v_set(0);
    for (int j = 0; j < NET_HEADS; ++j)
        map_back(
            NET_UNITS, NET_FEATURES, w + NET_W_HEADS + j * NET_HEAD, delta + NET_D_HEADS + j * NET_UNITS, bar_features,
            !NET_LAYERS && !bar_x
        );
    for (int j = NET_LAYERS - 1; j >= 0; --j) {
        const V *out = tape + NET_T_LAYERS + j * NET_HIDDEN;
        V *d = delta + j * NET_HIDDEN;
        for (int i = 0; i < NET_HIDDEN; ++i) {
            V t = out[i] * (1 / NET_GAIN);
            d[i] = bar_features[i] * (1 - t * t) * (NET_GAIN * NET_SLOPE);
        }
        for (int i = 0; i < layer_columns(j); ++i) bar[i] = v_set(0);
        map_back(NET_HIDDEN, layer_columns(j), w + layer_weights(j), d, bar, !j && !bar_x);
        bar_features = bar;
    }
    for (int i = 0; bar_x && i < NET_INPUTS; ++i) bar_x[i] = bar_features[i];
    for (int i = 0; i < NET_STATE; ++i) bar_h[i] = NET_RECURRENT ? direct[i] : bar_features[NET_INPUTS + i] + direct[i];
}

/* gradient (weights) += that of `steps` steps, at most NET_BLOCK. */
static void net_gradient(int steps, const V *const *tapes, const V *delta, V *gradient) {
    for (int j = 0; j < NET_LAYERS; ++j)
        dense_gradient(
            NET_HIDDEN, layer_columns(j), steps, tapes, layer_input(j), delta + j * NET_HIDDEN, NET_DELTA,
            gradient + layer_weights(j)
        );
    for (int j = 0; j < NET_HEADS; ++j)
        dense_gradient(
            NET_UNITS, NET_FEATURES, steps, tapes, NET_T_FEATURES, delta + NET_D_HEADS + j * NET_UNITS, NET_DELTA,
            gradient + NET_W_HEADS + j * NET_HEAD
        );
    for (int j = 0; j < NET_RECURRENT; ++j)
        dense_gradient(
            NET_UNITS, NET_UNITS, steps, tapes, NET_INPUTS, delta + NET_D_HEADS + (NET_HEADS + j) * NET_UNITS, NET_DELTA,
            gradient + NET_W_RECURRENT + j * NET_STATE_HEAD
        );
    for (int i = 0; i < NET_VECTORS * NET_UNITS; ++i)
        for (int t = 0; t < steps; ++t) gradient[NET_W_VECTORS + i] += delta[t * NET_DELTA + NET_D_VECTORS + i];
    dense_gradient(
        NET_OUTPUTS, NET_READ, steps, tapes, NET_T_READ, delta + NET_D_READOUT, NET_DELTA,
        gradient + NET_W_READOUT
    );
}
