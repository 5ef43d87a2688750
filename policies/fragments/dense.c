/* Matrix products on lanes: W (rows, columns) and bias (rows,) are plain numbers, the vectors hold one drone a lane. */

/* DO(size) again and again until `done`, to which it adds its size, is `total`. In sizes of about 8, because a block of 1 or
 * 2 sums waits for each addition. */
#define NET_BLOCKS(DO, done, total)                                                                 \
    while (total - done > 12) DO(8)                                                                 \
    switch (total - done) {                                                                         \
        case 12: DO(12) break;                                                                      \
        case 11: DO(11) break;                                                                      \
        case 10: DO(10) break;                                                                      \
        case 9: DO(9) break;                                                                        \
        case 8: DO(8) break;                                                                        \
        case 7: DO(7) break;                                                                        \
        case 6: DO(6) break;                                                                        \
        case 5: DO(5) break;                                                                        \
        case 4: DO(4) break;                                                                        \
        case 3: DO(3) break;                                                                        \
        case 2: DO(2) break;                                                                        \
        case 1: DO(1) break;                                                                        \
    }

#define NET_ROWS(count)                                                                             \
    {                                                                                               \
        V sum[count];                                                                               \
        for (int u = 0; u < count; ++u) sum[u] = v_set(bias[row + u]);                              \
        for (int k = 0; k < columns; ++k)                                                           \
            for (int u = 0; u < count; ++u) sum[u] += in[k] * weight[(row + u) * columns + k];      \
        for (int u = 0; u < count; ++u) out[row + u] = sum[u];                                      \
        row += count;                                                                               \
    }

/* out = W in + bias */
static inline void dense(int rows, int columns, const LP_REAL *weight, const V *restrict in, V *restrict out) {
    const LP_REAL *bias = weight + rows * columns;
    int row = 0;
    NET_BLOCKS(NET_ROWS, row, rows)
}

#define NET_COLUMNS(count)                                                                          \
    {                                                                                               \
        V sum[count];                                                                               \
        for (int u = 0; u < count; ++u) sum[u] = bar_in[k + u];                                     \
        for (int row = 0; row < rows; ++row)                                                        \
            for (int u = 0; u < count; ++u) sum[u] += delta[row] * weight[row * columns + k + u];   \
        for (int u = 0; u < count; ++u) bar_in[k + u] = sum[u];                                     \
        k += count;                                                                                 \
    }

/* bar_in += W^T delta, from column k on */
static inline void dense_back(
    int rows, int columns, int k, const LP_REAL *weight, const V *restrict delta, V *restrict bar_in
) {
    NET_BLOCKS(NET_COLUMNS, k, columns)
}

/* One tile of `dense_gradient`; height and width, at most 4, are known where it is inlined. */
LP_INLINE void gradient_tile(
    int height, int width, int columns, int steps, const V *const *tapes, int at, const V *delta, int stride,
    V *restrict gradient
) {
    V sum[4][4];
    for (int u = 0; u < height; ++u)
        for (int v = 0; v < width; ++v) sum[u][v] = gradient[u * columns + v];
    for (int t = 0; t < steps; ++t) {
        const V *d = delta + t * stride, *in = tapes[t] + at;
        for (int u = 0; u < height; ++u)
            for (int v = 0; v < width; ++v) sum[u][v] += d[u] * in[v];
    }
    for (int u = 0; u < height; ++u)
        for (int v = 0; v < width; ++v) gradient[u * columns + v] = sum[u][v];
}

#define NET_TILE(height, width)                                                                             \
    gradient_tile(                                                                                          \
        height, width, columns, steps, tapes, at + k, delta + row, stride, gradient + row * columns + k     \
    )

/* gradient += sum over steps of delta in^T, and of delta for the bias. `at`: where the input stands in a tape; stride: from
 * one delta to the next. The longer side is the outer loop: what the inner one goes through again stays in the cache. */
static inline void dense_gradient(
    int rows, int columns, int steps, const V *const *tapes, int at, const V *delta, int stride,
    V *restrict gradient
) {
    int row, k;
    if (rows < columns) {
        for (k = 0; k + 4 <= columns; k += 4) {
            for (row = 0; row + 4 <= rows; row += 4) NET_TILE(4, 4);
            if (rows % 4) NET_TILE(rows % 4, 4);
        }
    } else {
        for (row = 0; row + 4 <= rows; row += 4)
            for (k = 0; k + 4 <= columns; k += 4) NET_TILE(4, 4);
        if (rows % 4) for (k = 0; k + 4 <= columns; k += 4) NET_TILE(rows % 4, 4);
    }
    for (k = columns / 4 * 4; k < columns; ++k) {
        for (row = 0; row + 4 <= rows; row += 4) NET_TILE(4, 1);
        if (rows % 4) NET_TILE(rows % 4, 1);
    }
    for (int j = 0; j < rows; ++j) {
        V sum = gradient[rows * columns + j];
        for (int t = 0; t < steps; ++t) sum += delta[t * stride + j];
        gradient[rows * columns + j] = sum;
    }
}
