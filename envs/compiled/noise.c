/* The random numbers of a rollout: given, or drawn here by one xoshiro128++ a drone (Blackman and Vigna, 2019). */

typedef uint32_t Word __attribute__((vector_size(LANES * 4)));
typedef int32_t Whole __attribute__((vector_size(LANES * 4)));

typedef struct {
    Word s[4];
} Stream;

static inline uint64_t splitmix(uint64_t *x) {
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Streams of the drones lane, lane + 1, ...: each depends on the seed and its own number alone. */
static Stream streams(uint64_t seed, int64_t lane) {
    Stream r;
    FOR_LANES {
        uint64_t x = seed + (uint64_t)(lane + l) * 0xd1342543de82ef95u, a, b;
        splitmix(&x);
        a = splitmix(&x), b = splitmix(&x);
        ((uint32_t *)&r.s[0])[l] = (uint32_t)a | 1; /* the state must not be all zero */
        ((uint32_t *)&r.s[1])[l] = (uint32_t)(a >> 32);
        ((uint32_t *)&r.s[2])[l] = (uint32_t)b;
        ((uint32_t *)&r.s[3])[l] = (uint32_t)(b >> 32);
    }
    return r;
}

static inline Word turn(Word x, int k) { return (x << k) | (x >> (32 - k)); }

static inline Word draw_word(Stream *r) {
    Word *s = r->s, result = turn(s[0] + s[3], 7) + s[0], t = s[1] << 9;
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3], s[2] ^= t;
    s[3] = turn(s[3], 11);
    return result;
}

/* Uniform on the middles of 2^23 equal parts of 0..1: never 0, never 1, also in float. */
static inline V draw_uniform(Stream *r) {
    return (__builtin_convertvector((Whole)(draw_word(r) >> 9), V) + (real)0.5) * (real)0x1p-23;
}

/* Standard normal and uniform numbers of one control step (Box and Muller, 1958). */
static void draw_noise(Stream *r, V *noise) {
    for (int i = 0; i < LP_NORMALS; i += 2) {
        V radius = v_sqrt((real)-2 * v_log(draw_uniform(r))), angle = (real)6.283185307179586 * draw_uniform(r);
        noise[i] = radius * v_cos(angle);
        if (i + 1 < LP_NORMALS) noise[i + 1] = radius * v_sin(angle);
    }
    for (int i = LP_NORMALS; i < LP_NOISE; ++i) noise[i] = draw_uniform(r);
}

/* The numbers of one control step that were given: rows of `lanes` drones. */
static inline void load_noise(const real *normal, const real *uniform, int64_t k, int64_t lanes, int64_t lane, V *noise) {
    enum { UNIFORMS = LP_NOISE - LP_NORMALS };
    for (int i = 0; i < LP_NORMALS; ++i) noise[i] = v_load(normal + (k * LP_NORMALS + i) * lanes + lane);
    for (int i = 0; i < UNIFORMS; ++i) noise[LP_NORMALS + i] = v_load(uniform + (k * UNIFORMS + i) * lanes + lane);
}

/* What a rollout of that seed draws, as arrays (steps, LP_NORMALS, lanes) and (steps, LP_NOISE - LP_NORMALS, lanes). */
void lp_noise(uint64_t seed, int64_t steps, int64_t lanes, real *normal, real *uniform) {
    for (int64_t lane = 0; lane < lanes; lane += LANES) {
        Stream r = streams(seed, lane);
        for (int64_t k = 0; k < steps; ++k) {
            V noise[LP_NOISE];
            draw_noise(&r, noise);
            for (int i = 0; i < LP_NOISE; ++i) {
                int below = i < LP_NORMALS, rows = below ? LP_NORMALS : LP_NOISE - LP_NORMALS;
                v_store((below ? normal : uniform) + (k * rows + (below ? i : i - LP_NORMALS)) * lanes + lane, noise[i]);
            }
        }
    }
}
