/* The model as the kernel sees it: features sorted by the hash of their n-gram, found by bucket and fingerprint. */

#ifndef MODERATION_MODEL_H
#define MODERATION_MODEL_H

#include "scan.h"

#define MOST_LABELS 64
#define NONE UINT32_MAX

/* One kind of n-grams: features `first` up to `end`, sorted by hash. The upper `bits` of a hash choose a bucket, the 32
   bits below are the fingerprint. */
typedef struct {
    const uint32_t *buckets; /* 2**bits + 1 places of first features, counted from `first` */
    uint32_t first, end;
    int bits, low, high; /* fewest and most units in an n-gram */
    uint64_t seed;
} Block;

typedef struct {
    Block words, chars;
    const uint32_t *fingerprints;
    const char *rows; /* float32 idf and int16 weights of every feature, `stride` bytes each */
    size_t stride;
    int labels;
    double scale[MOST_LABELS], intercept[MOST_LABELS];
    Py_ssize_t limit; /* code points of a text that are read */
} Model;

static inline uint64_t block_seed(uint64_t seed, uint64_t block) { return hash_step(seed, block + 1); }

static inline const uint32_t *bucket_of(const Block *b, uint64_t h) { return b->buckets + (h >> (64 - b->bits)); }

/* Return the feature with this hash, NONE when the model has none. Bounds hold whatever the file says. */
static inline uint32_t find(const Model *m, const Block *b, uint64_t h)
{
    const uint32_t *bucket = bucket_of(b, h);
    uint32_t wanted = (uint32_t)(h << b->bits >> 32), size = b->end - b->first;
    uint32_t last = bucket[1] < size ? bucket[1] : size;
    for (uint32_t k = bucket[0]; k < last; k++)
        if (m->fingerprints[b->first + k] == wanted) return b->first + k;
    return NONE;
}

static inline void prefetch_fingerprints(const Model *m, const Block *b, uint64_t h)
{
    uint32_t k = bucket_of(b, h)[0];
    if (k < b->end - b->first) PREFETCH(m->fingerprints + b->first + k);
}

static inline const char *row_of(const Model *m, uint32_t feature) { return m->rows + (size_t)feature * m->stride; }

static inline double idf_of(const char *row)
{
    float idf;
    memcpy(&idf, row, sizeof idf);
    return idf;
}

/* Add `value` times a feature's weights to `sums`. */
static inline void add_weights(double *sums, const char *row, double value, int labels)
{
    int16_t weights[MOST_LABELS];
    if (LIKELY(labels == 8)) {
        memcpy(weights, row + 4, 16);
        for (int j = 0; j < 8; j++) sums[j] += value * weights[j];
        return;
    }
    memcpy(weights, row + 4, (size_t)labels * 2);
    for (int j = 0; j < labels; j++) sums[j] += value * weights[j];
}

#endif
