/* What the onboard memory takes of the samples, by their stamps: the rules of `envs.fault_effects` for one step. */

/* What the onboard clock showed at t in lane l: faults make it jump, from the release on. */
static double onboard(const Job *job, const World *w, int l, double t) {
    double since = t - w->release[l], shown = t;
    for (const Fault *f = job->fault_table; f < job->fault_table + job->faults; ++f)
        if ((int)f->part == CLOCK && since > 0 && since >= f->start_s && since < f->end_s) shown += f->amount;
    return shown;
}

/* Lanes in which the onboard memory takes the sample under way, by its stamp. */
static VI fits(const Job *job, const World *w, const Slow *s) {
    VI m = ~(VI){0};
    if (!job->imu_events) return m;
    FOR_LANES {
        double stamp = onboard(job, w, l, s->stamp[l]), early = stamp - w->heard[l];
        int taken = early <= LP_AHEAD_S && -early <= LP_LATE_S && stamp > onboard(job, w, l, s->held_stamp[l]);
        flags_of(&m)[l] = taken ? -1 : 0;
    }
    return m;
}

/* What the onboard memory makes of the IMU samples at both ends of a step. Returns the lanes in which there is none at
 * its start. */
static VI listen(const Job *job, World *w, Step *r, int64_t k, int64_t lane) {
    int64_t row = job->lanes;
    r->dt = as_real(w->dt);
    r->idle = r->refused = r->restarted = r->moved = (VI){0};
    if (!job->imu_events) return r->idle;
    const double *now = job->imu_events + k * IMU_ROWS * row + lane, *next = now + IMU_ROWS * row;
    VI none;
    FOR_LANES {
        w->heard[l] = w->t[l] - now[SILENT_S * row + l] + now[AHEAD_S * row + l];
        flags_of(&none)[l] = now[SILENT_S * row + l] > 0 ? -1 : 0;
        flags_of(&r->refused)[l] = next[SILENT_S * row + l] > 0 ? -1 : 0;
        flags_of(&r->restarted)[l] = next[RESTARTED * row + l] > 0 ? -1 : 0;
        flags_of(&r->moved)[l] = next[MOVED * row + l] > 0 ? -1 : 0;
    }
    r->dt = as_real(now + SEEN_DT_S * row);
    r->idle = job->every_event ? (VI){0} : none;
    return none;
}

/* Sensors as if they had not spoken where the onboard memory has moved to another clock; values stay held. */
static void forget(World *w, VI moved) {
    if (!any_lane(moved)) return;
    Clock never;
    FOR_LANES never[l] = -(double)INFINITY;
    choose_clock(w->flow.held_stamp, moved, never);
    choose_clock(w->range.held_stamp, moved, never);
    choose_clock(w->place.held_stamp, moved, never);
    w->flow.fresh &= ~moved, w->range.fresh &= ~moved, w->place.fresh &= ~moved;
}

static V onboard_age(const Job *job, const World *w, const double *stamp) {
    if (!job->imu_events) return age_of(w->t, stamp);
    Clock then;
    FOR_LANES then[l] = onboard(job, w, l, stamp[l]);
    return age_of(w->heard, then);
}
