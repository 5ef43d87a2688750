/* A drone that sees: the obstacles nearby, its flow grid, and the encoder, which runs once for each grid that is heard. */

#if LP_SEES

enum { LOOKS = 1, ARRIVES = 2, NEAR_STEPS = 8 /* after which the obstacles nearby are chosen anew, if not before */ };
enum { SIGHT_STAMP = LP_GRID + ENC_OUT, SIGHT_HELD, SIGHT_FRESH, LP_SIGHT }; /* rows, see envs.compiled.sight */

/* The nearest whole number, for sizes far below 2^31. */
static inline V whole(V x) {
    return __builtin_convertvector(__builtin_convertvector(x + v_copysign(v_set((real)0.5), x), Whole), V);
}

/* The obstacles that matter most, as `envs.forest.Plot.nearest` has them. */
static void find_near(World *w) {
    V keys[LP_NEAR];
    for (int j = 0; j < LP_NEAR; ++j) {
        keys[j] = v_set(LP_FAR_M);
        for (int c = 0; c < LP_ROW; ++c) w->near[LP_ROW * j + c] = v_set(LP_NOBODY[c]);
    }
    for (int i = 0; i < LP_BODIES; ++i) {
        const V *row = w->course + LP_AT_BODIES + LP_ROW * i;
        V dx = row[0] - w->body[0], dy = row[1] - w->body[1];
        dx -= whole(dx / v_set(LP_PLOT_LENGTH_M)) * (real)LP_PLOT_LENGTH_M;
        dy -= whole(dy / v_set(LP_PLOT_WIDTH_M)) * (real)LP_PLOT_WIDTH_M;
        V gx = dx, gy = dy, carried[LP_ROW];
        for (int c = 0; c < LP_ROW; ++c) carried[c] = row[c];
        carried[0] = w->body[0] + dx, carried[1] = w->body[1] + dy;
        if (LP_ROW > 3) { /* of shapes: from the edge of the core */
            gx = v_max(v_max(dx, -dx) - row[LP_ROW - 3], v_set(0)), gy = v_max(v_max(dy, -dy) - row[LP_ROW - 2], v_set(0));
        }
        V key = v_sqrt(gx * gx + gy * gy) - row[2];
        key += only(dx < (real)-0.5, v_set(LP_BEHIND_M));
        key = v_where((VI)(row[2] > (real)LP_NO_TREE), key, v_set(LP_FAR_M));
        for (int j = 0; j < LP_NEAR; ++j) { /* where it is nearer it takes the place, and the other one goes on */
            VI nearer = key < keys[j];
            V k = keys[j];
            keys[j] = v_where(nearer, key, k), key = v_where(nearer, k, key);
            for (int c = 0; c < LP_ROW; ++c) {
                V here = w->near[LP_ROW * j + c];
                w->near[LP_ROW * j + c] = v_where(nearer, carried[c], here), carried[c] = v_where(nearer, here, carried[c]);
            }
        }
    }
}

/* Take a grid: what the network will be shown of it is on its way from now on. */
static void look(World *w) {
    V pose[LP_POSE], targets[LP_TARGETS], axes[9], noise[2], seen[2];
    grid_pose(w->body, w->near, pose, targets);
    for (int i = 0; i < LP_RAYS; ++i) {
        V radius = v_sqrt((real)-2 * v_log(draw_uniform(&w->sparks)));
        V angle = (real)6.283185307179586 * draw_uniform(&w->sparks);
        VI silent = draw_uniform(&w->sparks) < (real)LP_RAYS_LOST;
        for (int c = 0; c < 9; ++c) axes[c] = v_set(LP_AXES[i][c]);
        noise[0] = radius * v_cos(angle), noise[1] = radius * v_sin(angle);
        grid_ray(axes, pose, targets, w->body, w->gyro, w->constants, noise, seen);
        for (int c = 0; c < 2; ++c) w->sight[c * LP_RAYS + i] = only(~silent, seen[c]);
    }
    w->sight[SIGHT_STAMP] = as_real(w->t);
}

/* Hear the grid under way, but where it is lost. Returns what the way back needs of it. */
static Glance *hear(const Job *job, World *w) {
    Glance *g = job->gradients ? w->glances + w->heard_grids++ : w->glances;
    VI lost = draw_uniform(&w->sparks) < (real)job->settings[GRID_LOST];
    V features[ENC_OUT];
    g->heard = ~lost & (VI)(w->sight[SIGHT_STAMP] > w->sight[SIGHT_HELD]);
    for (int i = 0; i < LP_GRID; ++i) g->tape[i] = w->sight[i];
    g->tape[LP_GRID] = w->course[0] * (real)ENC_PER_M_S;
    enc_step(job->weights + NET_WEIGHTS, g->tape, features);
    for (int i = 0; i < ENC_OUT; ++i)
        w->sight[LP_GRID + i] = v_where(g->heard, features[i], w->sight[LP_GRID + i]);
    w->sight[SIGHT_HELD] = v_where(g->heard, w->sight[SIGHT_STAMP], w->sight[SIGHT_HELD]);
    w->sight[SIGHT_FRESH] = v_where(g->heard, v_set(1), w->sight[SIGHT_FRESH]);
    return g;
}

/* The end of a control step: the obstacles of its cost, and a grid where the camera looks. */
static void see(const Job *job, World *w, Step *r, int64_t k, VI unread) {
    int looking = job->looks[k] & LOOKS;
    w->sight[SIGHT_FRESH] = only(unread, w->sight[SIGHT_FRESH]);
    if (looking || k % NEAR_STEPS == 0) find_near(w);
    memcpy(r->near, w->near, sizeof w->near);
    if (looking) look(w);
}

static V sight_age(const World *w) {
    V age = as_real(w->t) - w->sight[SIGHT_HELD];
    return v_min(v_max(age, v_set(0)), v_set((real)LP_INITIAL_AGE_S));
}

/* The derivative of what was heard at this step, gathered NET_BLOCK grids at a time. */
static void hear_vjp(const Job *job, World *w, Glance *g, V *bar_features) {
    V bar[ENC_OUT];
    for (int i = 0; i < ENC_OUT; ++i) {
        bar[i] = only(g->heard, bar_features[i]);
        bar_features[i] = only(~g->heard, bar_features[i]);
    }
    enc_vjp(job->weights + NET_WEIGHTS, g->tape, bar, w->sight_delta + w->gathered * ENC_DELTA);
    w->gathered_tapes[w->gathered++] = g->tape;
    if (w->gathered < NET_BLOCK) return;
    enc_gradient(w->gathered, w->gathered_tapes, w->sight_delta, w->gradient + NET_WEIGHTS);
    w->gathered = 0;
}

#endif
