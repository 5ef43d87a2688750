/* The derivative of a step in its elapsed time, for a network without a readout; needs `cell_bar_dt` of its cell. */

/* bar_h_next -> bar_dt. The heads are computed again, because a tape does not keep them and few ask for this. */
static inline V net_bar_dt(const LP_REAL *w, const V *tape, const V *delta, const V *bar_h_next, V dt) {
    (void)delta;
    V heads[NET_ALL_HEADS * NET_UNITS];
    net_heads(w, tape, heads);
    return cell_bar_dt(w + NET_W_VECTORS, heads, tape + NET_T_CELL, tape + NET_INPUTS, dt, bar_h_next);
}
