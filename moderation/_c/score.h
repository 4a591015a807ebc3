/* Scoring one comment.

   Character n-grams never cross a token's border, so what a token adds is worked out once and remembered: its features
   and the sum of their idf times weights, as if each occurred once in the comment. While a comment is read its features
   are counted; for those that occur more than once the sums are put right at the end, from c times idf to
   (1 + log c) times idf. What is remembered never changes a result, only the time it takes. */

#ifndef MODERATION_SCORE_H
#define MODERATION_SCORE_H

#include <math.h>
#include <stddef.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "model.h"

/* What a token adds. After the head come its form, the row of the word itself, the sums of every label over its
   character n-grams, and the features of those. */
typedef struct {
    uint64_t hash;
    double norm; /* sum of squared idf over its character n-grams */
    uint32_t length, n_features;
    uint32_t word;    /* the feature of the word itself, or NONE */
    uint32_t form[1]; /* `length` code points */
} Entry;

typedef struct {
    uint32_t mark, place; /* the upper half of the hash; where in the arena, from 1, 0 when the slot is free */
} Slot;

typedef struct {
    uint32_t feature, count;
} Count;

typedef struct {
    uint32_t feature, first, size; /* a word n-gram of `size` tokens that was found at token `first` */
} Found;

#define CACHE_SLOTS (1u << 17)
#define CACHE_TRIES 32 /* slots that a token may stand in; at half of the slots in use hardly one finds none */
#define CACHE_BYTES (16u << 20)
#define LONGEST_CACHED 40
#define LOGS 256
#define MANY 255 /* counts beyond this go to a table of their own */

/* What one thread needs while it scores; nothing of it outlives a comment but the cache. */
typedef struct Workspace {
    struct Workspace *next;
    Folded folded;
    Scanner scanner;
    Slot *cache;
    char *arena;
    size_t arena_used, cached;
    char *spare; /* the entry of a token that is not cached */
    size_t spare_size;
    uint32_t *features;
    size_t features_size;
    uint64_t *hashes; /* of the comment's tokens */
    size_t hashes_size;
    uint8_t *counts; /* of every feature of the model, in one piece with the cache; 0 but for those of the comment */
    uint32_t *seen, *repeated; /* features of the comment, and those that occur more than once */
    size_t n_seen, n_repeated, seen_size, repeated_size;
    Count *many; /* what goes beyond MANY: an open-addressing table, made when it is first needed */
    size_t many_size, n_many;
    double sums[2][MOST_LABELS], norms[2]; /* words, characters */
    double logs[LOGS];                     /* 1 + log of small counts */
} Workspace;

static void workspace_free(Workspace *w)
{
    if (!w) return;
    free(w->folded.memory);
    free(w->folded.origin);
    free(w->scanner.memory);
    free(w->cache);
    free(w->arena);
    free(w->spare);
    free(w->features);
    free(w->hashes);
    free(w->seen);
    free(w->repeated);
    free(w->many);
    free(w);
}

/* Return memory that the system may back with large pages, for it is read at random; free() lets go of it. */
static void *large_pages(size_t size)
{
#if defined(__linux__)
    void *memory = NULL;
    if (posix_memalign(&memory, 2u << 20, size)) return NULL;
    madvise(memory, size, MADV_HUGEPAGE);
    return memory;
#else
    return malloc(size);
#endif
}

static Workspace *workspace_new(const Model *m)
{
    Workspace *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->arena = large_pages(CACHE_BYTES);
    w->cache = large_pages(CACHE_SLOTS * sizeof *w->cache + m->chars.end + 1);
    if (!w->cache || !w->arena) return workspace_free(w), NULL;
    w->counts = (uint8_t *)(w->cache + CACHE_SLOTS);
    memset(w->cache, 0, CACHE_SLOTS * sizeof *w->cache + m->chars.end + 1);
    for (int k = 1; k < LOGS; k++) w->logs[k] = 1.0 + log((double)k);
    return w;
}

/* Make room for `wanted` items of an array that grows. */
static int reserve(void *array, size_t *size, size_t wanted, size_t item)
{
    void **memory = array, *grown;
    size_t more;
    if (LIKELY(wanted <= *size)) return 0;
    more = wanted + wanted / 2 + 64;
    if (!(grown = realloc(*memory, more * item))) return -1;
    *memory = grown;
    *size = more;
    return 0;
}

/* ---- counting ---- */

static Count *many_slot(const Workspace *w, uint32_t feature)
{
    size_t k = feature * 0x9e3779b1u & (w->many_size - 1);
    while (w->many[k].count && w->many[k].feature != feature) k = (k + 1) & (w->many_size - 1);
    return w->many + k;
}

/* Count one more of a feature that has been seen MANY times. */
static int count_many(Workspace *w, uint32_t feature)
{
    Count *slot;
    if (2 * w->n_many >= w->many_size) {
        Count *old = w->many;
        size_t old_size = w->many_size, size = old_size ? 2 * old_size : 64;
        Count *grown = calloc(size, sizeof *grown);
        if (!grown) return -1;
        w->many = grown;
        w->many_size = size;
        for (size_t k = 0; k < old_size; k++)
            if (old[k].count) *many_slot(w, old[k].feature) = old[k];
        free(old);
    }
    slot = many_slot(w, feature);
    if (!slot->count) w->n_many++;
    slot->feature = feature;
    slot->count++;
    return 0;
}

static inline uint32_t count_of(const Workspace *w, uint32_t feature)
{
    uint32_t count = w->counts[feature];
    return count == MANY && w->n_many ? count + many_slot(w, feature)->count : count;
}

/* Count features; `seen` and `repeated` have room for them. No step depends on a guess about the data. */
static inline int count_features(Workspace *w, const uint32_t *features, size_t n)
{
    uint8_t *counts = w->counts;
    uint32_t *seen = w->seen, *repeated = w->repeated;
    size_t n_seen = w->n_seen, n_repeated = w->n_repeated;
    for (size_t k = 0; k < n; k++) {
        uint32_t feature = features[k], count = counts[feature];
        if (UNLIKELY(count == MANY)) {
            if (count_many(w, feature) < 0) return -1;
            continue;
        }
        counts[feature] = (uint8_t)(count + 1);
        seen[n_seen] = repeated[n_repeated] = feature;
        n_seen += (count - 1) >> 31; /* when it was 0 */
        n_repeated += ((count ^ 1) - 1) >> 31;
    }
    w->n_seen = n_seen;
    w->n_repeated = n_repeated;
    return 0;
}

static inline int count_reserve(Workspace *w, size_t n)
{
    if (reserve(&w->seen, &w->seen_size, w->n_seen + n + 1, sizeof *w->seen) < 0) return -1;
    return reserve(&w->repeated, &w->repeated_size, w->n_repeated + n + 1, sizeof *w->repeated);
}

/* Forget all counts. */
static void count_clear(Workspace *w)
{
    for (size_t k = 0; k < w->n_seen; k++) w->counts[w->seen[k]] = 0;
    w->n_seen = w->n_repeated = 0;
    if (w->n_many) memset(w->many, 0, w->many_size * sizeof *w->many);
    w->n_many = 0;
}

/* ---- character n-grams of one token ---- */

#define AT_ONCE 128

static int find_all(Workspace *w, const Model *m, const uint64_t *hashes, size_t n, size_t *found)
{
    const Block *b = &m->chars;
    if (reserve(&w->features, &w->features_size, *found + n, sizeof *w->features) < 0) return -1;
    for (size_t k = 0; k < n; k++) prefetch_fingerprints(m, b, hashes[k]);
    for (size_t k = 0; k < n; k++) {
        uint32_t feature = find(m, b, hashes[k]);
        if (feature == NONE) continue;
        PREFETCH(row_of(m, feature));
        w->features[(*found)++] = feature;
    }
    return 0;
}

/* Write the features of a token's character n-grams to `w->features`; -1 when memory is short. */
static int find_chars(Workspace *w, const Model *m, Token *t, size_t *found)
{
    const Block *b = &m->chars;
    size_t padded = t->length + 2, high = (size_t)b->high, n = 0;
    const uint32_t *p = padded_form(t);
    uint64_t hashes[AT_ONCE];
    *found = 0;
    if ((size_t)b->low > padded) { /* too short for an n-gram: it counts once, whole */
        uint64_t h = b->seed;
        for (size_t k = 0; k < padded; k++) h = hash_step(h, p[k]);
        hashes[0] = hash_mix(h);
        return find_all(w, m, hashes, 1, found);
    }
    for (size_t i = 0; i + (size_t)b->low <= padded; i++) {
        size_t most = high < padded - i ? high : padded - i;
        uint64_t h = b->seed;
        for (size_t k = 0; k < most; k++) {
            h = hash_step(h, p[i + k]);
            if (k + 1 < (size_t)b->low) continue;
            hashes[n] = hash_mix(h);
            PREFETCH(bucket_of(b, hashes[n]));
            if (++n == AT_ONCE) {
                if (find_all(w, m, hashes, n, found) < 0) return -1;
                n = 0;
            }
        }
    }
    return find_all(w, m, hashes, n, found);
}

/* ---- what a token adds ---- */

static size_t round_up(size_t size) { return (size + 7) & ~(size_t)7; }

static inline char *entry_row(const Entry *e) { return (char *)e + round_up(offsetof(Entry, form) + e->length * 4); }

static inline double *entry_sums(const Entry *e, const Model *m) { return (double *)(entry_row(e) + round_up(m->stride)); }

static inline uint32_t *entry_features(const Entry *e, const Model *m)
{
    return (uint32_t *)(entry_sums(e, m) + m->labels);
}

static size_t entry_size(size_t features, size_t length, const Model *m)
{
    return round_up(offsetof(Entry, form) + length * 4) + round_up(m->stride) + (size_t)m->labels * sizeof(double) +
           round_up(features * 4);
}

static void entry_fill(Entry *e, const Workspace *w, const Model *m, const Token *t, size_t found)
{
    double *sums;
    e->hash = t->hash;
    e->norm = 0;
    e->length = (uint32_t)t->length;
    e->n_features = (uint32_t)found;
    e->word = m->words.low > 1 ? NONE : find(m, &m->words, hash_mix(hash_step(m->words.seed, t->hash)));
    for (size_t k = 0; k < t->length; k++) e->form[k] = code(t->form[k]);
    if (e->word != NONE) memcpy(entry_row(e), row_of(m, e->word), m->stride);
    sums = entry_sums(e, m);
    memset(sums, 0, (size_t)m->labels * sizeof *sums);
    memcpy(entry_features(e, m), w->features, found * sizeof *w->features);
    for (size_t k = 0; k < found; k++) {
        const char *row = row_of(m, w->features[k]);
        double idf = idf_of(row);
        e->norm += idf * idf;
        add_weights(sums, row, idf, m->labels);
    }
}

static inline size_t cache_start(uint64_t hash) { return (size_t)(hash >> 20) & (CACHE_SLOTS - 1); }

/* Bring the entry of a token nearer, if there seems to be one. */
static inline void entry_prefetch(const Workspace *w, uint64_t hash)
{
    Slot slot = w->cache[cache_start(hash)];
    const char *entry = w->arena + (slot.place - 1) * (size_t)8;
    if (slot.place && slot.mark == (uint32_t)(hash >> 32)) {
        PREFETCH(entry);
        PREFETCH(entry + 64);
        PREFETCH(entry + 128);
        PREFETCH(entry + 192);
    }
}

/* Return the free slot where a token may be kept, or CACHE_SLOTS when none of its own is free: a text made of words
   that fall on the same slots would otherwise be read in quadratic time. */
static inline size_t cache_free(const Workspace *w, uint64_t hash)
{
    for (size_t slot = cache_start(hash), tries = 0; tries < CACHE_TRIES; slot = (slot + 1) & (CACHE_SLOTS - 1), tries++)
        if (!w->cache[slot].place) return slot;
    return CACHE_SLOTS;
}

static Entry *entry_make(Workspace *w, const Model *m, Token *t)
{
    size_t found, size, slot;
    Entry *e;
    if (find_chars(w, m, t, &found) < 0) return NULL;
    size = entry_size(found, t->length, m);
    if (t->length > LONGEST_CACHED || size > CACHE_BYTES / 64 || cache_free(w, t->hash) == CACHE_SLOTS) {
        if (reserve(&w->spare, &w->spare_size, size, 1) < 0) return NULL;
        entry_fill(e = (Entry *)w->spare, w, m, t, found);
        return e;
    }
    if (w->arena_used + size > CACHE_BYTES || 2 * w->cached > CACHE_SLOTS) {
        memset(w->cache, 0, CACHE_SLOTS * sizeof *w->cache);
        w->arena_used = w->cached = 0;
    }
    slot = cache_free(w, t->hash);
    e = (Entry *)(w->arena + w->arena_used);
    w->cache[slot] = (Slot){(uint32_t)(t->hash >> 32), (uint32_t)(w->arena_used / 8 + 1)};
    w->arena_used += size;
    w->cached++;
    entry_fill(e, w, m, t, found);
    return e;
}

static inline int same_form(const Entry *e, const Token *t)
{
    for (size_t k = 0; k < t->length; k++)
        if (e->form[k] != code(t->form[k])) return 0;
    return 1;
}

/* Return what a token adds, remembered or worked out; NULL when memory is short. Valid until the next call. */
static inline Entry *entry_of(Workspace *w, const Model *m, Token *t)
{
    if (LIKELY(t->length <= LONGEST_CACHED)) {
        size_t slot = cache_start(t->hash), tries = 0;
        for (; tries < CACHE_TRIES && w->cache[slot].place; slot = (slot + 1) & (CACHE_SLOTS - 1), tries++) {
            Entry *e = (Entry *)(w->arena + (w->cache[slot].place - 1) * (size_t)8);
            if (w->cache[slot].mark == (uint32_t)(t->hash >> 32) && e->hash == t->hash && e->length == t->length &&
                LIKELY(same_form(e, t)))
                return e;
        }
    }
    return entry_make(w, m, t);
}

static int add_token(Workspace *w, const Model *m, const Entry *e)
{
    const double *sums = entry_sums(e, m);
    if (count_reserve(w, (size_t)e->n_features + 1) < 0 || count_features(w, entry_features(e, m), e->n_features) < 0)
        return -1;
    w->norms[1] += e->norm;
    if (LIKELY(m->labels == 8))
        for (int j = 0; j < 8; j++) w->sums[1][j] += sums[j];
    else
        for (int j = 0; j < m->labels; j++) w->sums[1][j] += sums[j];
    if (e->word == NONE) return 0;
    double idf = idf_of(entry_row(e));
    w->norms[0] += idf * idf;
    add_weights(w->sums[0], entry_row(e), idf, m->labels);
    return count_features(w, &e->word, 1);
}

/* ---- word n-grams of a comment ---- */

/* Called for each n-gram of two words or more that the model has; -1 stops. */
typedef int (*OnWords)(void *context, Workspace *w, const Model *m, Found found);

static int each_words(Workspace *w, const Model *m, size_t n_tokens, OnWords then, void *context)
{
    const Block *b = &m->words;
    uint64_t hashes[AT_ONCE];
    Found grams[AT_ONCE];
    size_t n = 0, high = (size_t)b->high, low = b->low > 2 ? (size_t)b->low : 2;
    for (size_t i = 0; i <= n_tokens; i++) {
        uint64_t h = b->seed;
        if (i == n_tokens || n + high > AT_ONCE) {
            for (size_t k = 0; k < n; k++) prefetch_fingerprints(m, b, hashes[k]);
            for (size_t k = 0; k < n; k++) {
                grams[k].feature = find(m, b, hashes[k]);
                if (grams[k].feature != NONE) PREFETCH(row_of(m, grams[k].feature));
            }
            for (size_t k = 0; k < n; k++)
                if (grams[k].feature != NONE && then(context, w, m, grams[k]) < 0) return -1;
            n = 0;
        }
        for (size_t size = 1; size <= high && i + size <= n_tokens; size++) {
            h = hash_step(h, w->hashes[i + size - 1]);
            if (size < low) continue;
            hashes[n] = hash_mix(h);
            grams[n].first = (uint32_t)i;
            grams[n].size = (uint32_t)size;
            PREFETCH(bucket_of(b, hashes[n]));
            n++;
        }
    }
    return 0;
}

static int add_words(void *context, Workspace *w, const Model *m, Found found)
{
    const char *row = row_of(m, found.feature);
    double idf = idf_of(row);
    (void)context;
    w->norms[0] += idf * idf;
    add_weights(w->sums[0], row, idf, m->labels);
    return count_reserve(w, 1) < 0 ? -1 : count_features(w, &found.feature, 1);
}

static inline double sublinear(const Workspace *w, uint32_t count)
{
    return count < LOGS ? w->logs[count] : 1.0 + log((double)count);
}

/* ---- a comment ---- */

#define GROUP 32

/* Read a folded text: its sums as if every feature counted as often as it occurs, and its counts. Tokens are read a
   group at a time, so that what is remembered of them has come near when it is used. */
static int read_comment(Workspace *w, const Model *m, size_t *n_tokens)
{
    Token group[GROUP];
    size_t n = GROUP;
    *n_tokens = 0;
    count_clear(w);
    memset(w->norms, 0, sizeof w->norms);
    for (int block = 0; block < 2; block++) memset(w->sums[block], 0, (size_t)m->labels * sizeof(double));
    if (scan_begin(&w->scanner, &w->folded) < 0) return -1;
    while (n == GROUP) {
        if (reserve(&w->hashes, &w->hashes_size, *n_tokens + GROUP, sizeof *w->hashes) < 0) return -1;
        scan_group(&w->scanner);
        for (n = 0; n < GROUP && scan_next(&w->scanner, group + n); n++) {
            PREFETCH(w->cache + cache_start(group[n].hash));
            w->hashes[(*n_tokens)++] = group[n].hash;
        }
        for (size_t k = 0; k < n; k++) entry_prefetch(w, group[k].hash);
        for (size_t k = 0; k < n; k++) {
            Entry *e = entry_of(w, m, group + k);
            if (!e || add_token(w, m, e) < 0) return -1;
        }
    }
    return each_words(w, m, *n_tokens, add_words, NULL);
}

/* Put the sums right for features that occur more than once. */
static void correct(Workspace *w, const Model *m)
{
    for (size_t k = 0; k < w->n_repeated; k++) PREFETCH(row_of(m, w->repeated[k]));
    for (size_t k = 0; k < w->n_repeated; k++) {
        uint32_t feature = w->repeated[k], count = count_of(w, feature);
        const char *row = row_of(m, feature);
        int block = feature >= m->chars.first;
        double idf = idf_of(row), value = sublinear(w, count);
        w->norms[block] += (value * value - count) * idf * idf;
        add_weights(w->sums[block], row, (value - count) * idf, m->labels);
    }
}

/* Write the log-odds of the first `limit` code points of a text; -1 when memory is short. Needs no GIL. */
static int weigh(Workspace *w, const Model *m, PyObject *text, double *out)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    size_t n_tokens;
    if (fold_text(&w->folded, text, length < m->limit ? length : m->limit, 0) < 0) return -1;
    if (read_comment(w, m, &n_tokens) < 0) return -1;
    correct(w, m);
    for (int j = 0; j < m->labels; j++) out[j] = m->intercept[j];
    for (int block = 0; block < 2; block++) {
        double norm = w->norms[block] > 0 ? 1.0 / sqrt(w->norms[block]) : 0.0;
        for (int j = 0; j < m->labels; j++) out[j] += w->sums[block][j] * norm * m->scale[j];
    }
    return 0;
}

/* Hash every n-gram of the folded text once and do nothing else: the floor that scoring is measured against. */
static int hash_comment(Workspace *w, const Model *m, uint64_t *sum)
{
    Token t;
    size_t n = 0;
    if (scan_begin(&w->scanner, &w->folded) < 0) return -1;
    while (scan_group(&w->scanner), scan_next(&w->scanner, &t)) {
        const uint32_t *p = padded_form(&t);
        size_t padded = t.length + 2, high = (size_t)m->chars.high, low = (size_t)m->chars.low;
        if (reserve(&w->hashes, &w->hashes_size, n + 1, sizeof *w->hashes) < 0) return -1;
        w->hashes[n++] = t.hash;
        for (size_t i = 0; i + low <= padded; i++) {
            uint64_t h = m->chars.seed;
            for (size_t k = 0; k < high && i + k < padded; k++) {
                h = hash_step(h, p[i + k]);
                if (k + 1 >= low) *sum += hash_mix(h);
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t h = m->words.seed;
        for (size_t size = 1; size <= (size_t)m->words.high && i + size <= n; size++) {
            h = hash_step(h, w->hashes[i + size - 1]);
            if (size >= (size_t)m->words.low) *sum += hash_mix(h);
        }
    }
    return 0;
}

#endif
