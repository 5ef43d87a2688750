/* A wired cell without a backbone, layer by layer: one step and its derivative, with all weights in one flat array.
 *
 * Set before: NET_INPUTS, NET_INTER, NET_COMMAND, NET_OUTPUTS (the motor neurons), NET_TIME_UNIT_S, NET_SLOW and a cell as for
 * network.c. With NET_SLOW the command neurons advance when input NET_TRIGGER is above a half, by the time since they last did,
 * which stands behind the neurons in the state, in seconds. Else no time passes for them, and such a step changes nothing.
 * Every layer hears the new state of the one before it, inter neurons the inputs, and its own old state. Matrices are dense:
 * weights without a synapse are 0, and who asks for their gradients drops them. Weights in the order of
 * `liquid_pilot.cells.weight_shapes`. In a tape each layer's input, [what it hears; its old state], lies together. */

enum {
    NET_STATE = NET_UNITS + NET_SLOW,
    /* places in a tape: x, old inter, new inter, old command, new command, old motor, new motor */
    NET_T_INTER = NET_INPUTS + NET_INTER,
    NET_T_COMMAND = NET_T_INTER + NET_INTER + NET_COMMAND,
    NET_T_MOTOR = NET_T_COMMAND + NET_COMMAND + NET_OUTPUTS,
    NET_T_CELL = NET_T_MOTOR + NET_OUTPUTS,
    NET_T_ACTION = NET_T_CELL + NET_CELL_TAPE,
    NET_T_SLOW = NET_T_ACTION + NET_OUTPUTS, /* time units that the command neurons advance by */
    NET_TAPE = NET_T_SLOW + NET_SLOW,
    /* places in a delta */
    NET_D_VECTORS = NET_HEADS * NET_UNITS,
    NET_D_READOUT = NET_D_VECTORS + NET_VECTORS * NET_UNITS,
    NET_DELTA = NET_D_READOUT + NET_OUTPUTS,
    /* places in the weights */
    NET_W_COMMAND = NET_HEADS * NET_INTER * (NET_INPUTS + NET_INTER + 1),
    NET_W_MOTOR = NET_W_COMMAND + NET_HEADS * NET_COMMAND * (NET_INTER + NET_COMMAND + 1),
    NET_W_VECTORS = NET_W_MOTOR + NET_HEADS * NET_OUTPUTS * (NET_COMMAND + NET_OUTPUTS + 1),
    NET_W_READOUT = NET_W_VECTORS + NET_VECTORS * NET_UNITS,
    NET_WEIGHTS = NET_W_READOUT + 2 * NET_OUTPUTS,
    NET_BLOCK = 16 /* steps whose weight gradient is gathered at once */
};

/* DO(first neuron, neurons, what they hear, its width, weights, time) for a layer, in the order of flow or against it. */
#define NET_INTER_LAYER(DO) DO(0, NET_INTER, 0, NET_INPUTS, 0, dt)
#define NET_COMMAND_LAYER(DO) DO(NET_INTER, NET_COMMAND, NET_T_INTER, NET_INTER, NET_W_COMMAND, slow)
#define NET_MOTOR_LAYER(DO) DO(NET_INTER + NET_COMMAND, NET_OUTPUTS, NET_T_COMMAND, NET_COMMAND, NET_W_MOTOR, dt)

LP_INLINE void layer_step(
    int from, int size, int at, int heard, const LP_REAL *w, const LP_REAL *vectors, const V *h, V dt, V *tape, V *heads,
    V *h_next
) {
    int columns = heard + size;
    for (int n = 0; n < size; ++n) tape[at + heard + n] = h[from + n];
    for (int j = 0; j < NET_HEADS; ++j)
        dense(size, columns, w + j * size * (columns + 1), tape + at, heads + j * NET_UNITS + from);
    cell_step(from, from + size, vectors, heads, h, dt, tape + NET_T_CELL, h_next);
    for (int n = 0; n < size; ++n) tape[at + columns + n] = h_next[from + n];
}

/* x (inputs), h (state), seconds since the previous step -> h_next (state), action (outputs), tape. */
static void net_step(const LP_REAL *w, const V *x, const V *h, V dt_s, V *tape, V *h_next, V *action) {
    V heads[NET_HEADS * NET_UNITS], dt = dt_s / v_set((LP_REAL)NET_TIME_UNIT_S), slow = dt;
#if NET_SLOW
    VI fired = (VI)(x[NET_TRIGGER] > v_set((LP_REAL)0.5));
    V waited_s = h[NET_UNITS] + dt_s;
    tape[NET_T_SLOW] = slow = v_where(fired, waited_s / v_set((LP_REAL)NET_TIME_UNIT_S), v_set(0));
    h_next[NET_UNITS] = v_where(fired, v_set(0), waited_s);
#endif
    const LP_REAL *factor = w + NET_W_READOUT, *shift = factor + NET_OUTPUTS;
    for (int i = 0; i < NET_INPUTS; ++i) tape[i] = x[i];
#define STEP(from, size, at, heard, weights, time) \
    layer_step(from, size, at, heard, w + weights, w + NET_W_VECTORS, h, time, tape, heads, h_next);
    NET_INTER_LAYER(STEP)
    NET_COMMAND_LAYER(STEP)
    NET_MOTOR_LAYER(STEP)
#undef STEP
    for (int i = 0; i < NET_OUTPUTS; ++i)
        tape[NET_T_ACTION + i] = action[i] = v_tanh(factor[i] * tape[NET_T_MOTOR + i] + shift[i]);
}

/* bar of a layer's new state -> its delta, bar_h of its old state (stored), bar_heard (added to; 0: not asked for). */
LP_INLINE void layer_back(
    int from, int size, int at, int heard, const LP_REAL *w, const LP_REAL *vectors, const V *tape, V dt, const V *bar,
    V *delta, V *bar_h, V *bar_heard
) {
    int columns = heard + size;
    V bar_in[NET_INPUTS + 2 * NET_UNITS];
    for (int i = 0; i < columns; ++i) bar_in[i] = v_set(0);
    cell_vjp(
        from, from + size, vectors, tape + NET_T_CELL, tape + at + heard - from, dt, bar, delta, bar_h,
        delta + NET_D_VECTORS
    );
    for (int j = 0; j < NET_HEADS; ++j)
        dense_back(
            size, columns, bar_heard ? 0 : heard, w + j * size * (columns + 1), delta + j * NET_UNITS + from, bar_in
        );
    for (int i = 0; bar_heard && i < heard; ++i) bar_heard[i] += bar_in[i];
    for (int n = 0; n < size; ++n) bar_h[from + n] += bar_in[heard + n];
}

/* bar_h_next, bar_action -> bar_x (0: not asked for), bar_h (stored) and the delta of this step. */
static void net_vjp(
    const LP_REAL *w, const V *tape, V dt_s, const V *bar_h_next, const V *bar_action, V *delta, V *bar_x, V *bar_h
) {
    V dt = dt_s / v_set((LP_REAL)NET_TIME_UNIT_S), slow = dt, bar[NET_UNITS];
#if NET_SLOW
    slow = tape[NET_T_SLOW];
    bar_h[NET_UNITS] = v_set(0); /* no slope in time is asked for */
#endif
    for (int n = 0; n < NET_UNITS; ++n) bar[n] = bar_h_next[n];
    for (int i = 0; i < NET_OUTPUTS; ++i) {
        V a = tape[NET_T_ACTION + i], d = bar_action[i] * (1 - a * a);
        delta[NET_D_READOUT + i] = d;
        bar[NET_INTER + NET_COMMAND + i] += d * w[NET_W_READOUT + i];
    }
    for (int i = 0; bar_x && i < NET_INPUTS; ++i) bar_x[i] = v_set(0);
    V *bar_heard = bar + NET_INTER; /* the layer before is where the gradient goes on */
#define BACK(from, size, at, heard, weights, time) \
    layer_back(from, size, at, heard, w + weights, w + NET_W_VECTORS, tape, time, bar, delta, bar_h, bar_heard);
    NET_MOTOR_LAYER(BACK)
    bar_heard = bar;
    NET_COMMAND_LAYER(BACK)
    bar_heard = bar_x;
    NET_INTER_LAYER(BACK)
#undef BACK
}

/* gradient (weights) += that of `steps` steps, at most NET_BLOCK. */
static void net_gradient(int steps, const V *const *tapes, const V *delta, V *gradient) {
#define GATHER(from, size, at, heard, weights, time)                                                        \
    for (int j = 0; j < NET_HEADS; ++j)                                                                     \
        dense_gradient(                                                                                     \
            size, heard + size, steps, tapes, at, delta + j * NET_UNITS + from, NET_DELTA,                  \
            gradient + weights + j * (size) * (heard + size + 1)                                            \
        );
    NET_INTER_LAYER(GATHER)
    NET_COMMAND_LAYER(GATHER)
    NET_MOTOR_LAYER(GATHER)
#undef GATHER
    for (int t = 0; t < steps; ++t) {
        const V *d = delta + t * NET_DELTA;
        for (int i = 0; i < NET_VECTORS * NET_UNITS; ++i) gradient[NET_W_VECTORS + i] += d[NET_D_VECTORS + i];
        for (int i = 0; i < NET_OUTPUTS; ++i) {
            gradient[NET_W_READOUT + i] += d[NET_D_READOUT + i] * tapes[t][NET_T_MOTOR + i];
            gradient[NET_W_READOUT + NET_OUTPUTS + i] += d[NET_D_READOUT + i];
        }
    }
}
