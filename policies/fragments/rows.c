/* Rows of plain numbers to lanes and back: row l becomes lane l. */

/* LP_LANES vectors as the rows of a square change places with its columns: each round shuffles its two halves together. */
static inline void transpose(V *v) {
#if defined(__clang__)
    V next[LP_LANES];
    for (int l = 0; l < LP_LANES; ++l)
        for (int m = 0; m < LP_LANES; ++m) next[m][l] = v[l][m];
    memcpy(v, next, sizeof next);
#else
    VI low, high;
    for (int l = 0; l < LP_LANES; ++l) low[l] = l / 2 + l % 2 * LP_LANES, high[l] = low[l] + LP_LANES / 2;
    for (int round = 1; round < LP_LANES; round *= 2) {
        V next[LP_LANES];
        for (int l = 0; l < LP_LANES / 2; ++l) {
            next[2 * l] = __builtin_shuffle(v[l], v[l + LP_LANES / 2], low);
            next[2 * l + 1] = __builtin_shuffle(v[l], v[l + LP_LANES / 2], high);
        }
        for (int l = 0; l < LP_LANES; ++l) v[l] = next[l];
    }
#endif
}

/* lanes[i], i < count, from the first `live` rows, which lie `stride` apart. Other lanes are 0; all are, without rows. */
static void pack(const LP_REAL *rows, int64_t stride, int live, int count, V *lanes) {
    int i = 0;
    if (!rows || live < LP_LANES) memset(lanes, 0, count * sizeof(V));
    if (!rows) return;
    for (; live == LP_LANES && i + LP_LANES <= count; i += LP_LANES) {
        for (int l = 0; l < LP_LANES; ++l) lanes[i + l] = v_load(rows + l * stride + i);
        transpose(lanes + i);
    }
    for (; i < count; ++i)
        for (int l = 0; l < live; ++l) ((LP_REAL *)(lanes + i))[l] = rows[l * stride + i];
}

/* The inverse, of the rows that there are. */
static void unpack(const V *lanes, int64_t stride, int live, int count, LP_REAL *rows) {
    int i = 0;
    if (!rows) return;
    for (; live == LP_LANES && i + LP_LANES <= count; i += LP_LANES) {
        V square[LP_LANES];
        for (int l = 0; l < LP_LANES; ++l) square[l] = lanes[i + l];
        transpose(square);
        for (int l = 0; l < LP_LANES; ++l) v_store(rows + l * stride + i, square[l]);
    }
    for (; i < count; ++i)
        for (int l = 0; l < live; ++l) rows[l * stride + i] = ((const LP_REAL *)(lanes + i))[l];
}

/* sums[i] = all lanes of lanes[i], in the order of v_sum. */
static void sum_lanes(const V *lanes, int count, LP_REAL *sums) {
    int i = 0;
    for (; i + LP_LANES <= count; i += LP_LANES) {
        V square[LP_LANES], total = v_set(0);
        for (int l = 0; l < LP_LANES; ++l) square[l] = lanes[i + l];
        transpose(square);
        for (int l = 0; l < LP_LANES; ++l) total += square[l];
        v_store(sums + i, total);
    }
    for (; i < count; ++i) sums[i] = v_sum(lanes[i]);
}
