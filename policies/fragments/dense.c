/* Matrix products on lanes: W (rows, columns) and bias (rows,) are plain numbers, the vectors hold one drone a lane. */

#define NET_ROWS(count)                                                                             \
    for (; row + count <= rows; row += count) {                                                     \
        V sum[count];                                                                               \
        for (int u = 0; u < count; ++u) sum[u] = v_set(bias[row + u]);                              \
        for (int k = 0; k < columns; ++k)                                                           \
            for (int u = 0; u < count; ++u) sum[u] += in[k] * weight[(row + u) * columns + k];      \
        for (int u = 0; u < count; ++u) out[row + u] = sum[u];                                      \
    }

/* out = W in + bias */
static inline void dense(int rows, int columns, const LP_REAL *weight, const V *restrict in, V *restrict out) {
    const LP_REAL *bias = weight + rows * columns;
    int row = 0;
    NET_ROWS(8) NET_ROWS(4) NET_ROWS(2) NET_ROWS(1)
}

#define NET_COLUMNS(count)                                                                          \
    for (; k + count <= columns; k += count) {                                                      \
        V sum[count];                                                                               \
        for (int u = 0; u < count; ++u) sum[u] = bar_in[k + u];                                     \
        for (int row = 0; row < rows; ++row)                                                        \
            for (int u = 0; u < count; ++u) sum[u] += delta[row] * weight[row * columns + k + u];   \
        for (int u = 0; u < count; ++u) bar_in[k + u] = sum[u];                                     \
    }

/* bar_in += W^T delta */
static inline void dense_back(int rows, int columns, const LP_REAL *weight, const V *restrict delta, V *restrict bar_in) {
    int k = 0;
    NET_COLUMNS(8) NET_COLUMNS(4) NET_COLUMNS(2) NET_COLUMNS(1)
}

#define NET_TILE(height, width)                                                                     \
    for (; row + height <= rows; row += height)                                                     \
        for (int k = from; k + width <= to; k += width) {                                           \
            V sum[height][width];                                                                   \
            for (int u = 0; u < height; ++u)                                                        \
                for (int v = 0; v < width; ++v) sum[u][v] = gradient[(row + u) * columns + k + v];  \
            for (int t = 0; t < steps; ++t) {                                                       \
                const V *d = delta + t * stride + row, *in = tapes[t] + at + k;                  \
                for (int u = 0; u < height; ++u)                                                    \
                    for (int v = 0; v < width; ++v) sum[u][v] += d[u] * in[v];                      \
            }                                                                                       \
            for (int u = 0; u < height; ++u)                                                        \
                for (int v = 0; v < width; ++v) gradient[(row + u) * columns + k + v] = sum[u][v];  \
        }

/* gradient += sum over steps of delta in^T, and of delta for the bias. `at`: where the input stands in a tape; stride: from
 * one delta to the next. */
static inline void dense_gradient(
    int rows, int columns, int steps, const V *const *tapes, int at, const V *delta, int stride,
    V *restrict gradient
) {
    int to = columns / 4 * 4;
    int row = 0, from = 0;
    NET_TILE(4, 4) NET_TILE(2, 4) NET_TILE(1, 4)
    row = 0, from = to, to = columns;
    NET_TILE(4, 1) NET_TILE(2, 1) NET_TILE(1, 1)
    for (int j = 0; j < rows; ++j) {
        V sum = gradient[rows * columns + j];
        for (int t = 0; t < steps; ++t) sum += delta[t * stride + j];
        gradient[rows * columns + j] = sum;
    }
}
