/* Counting the n-grams of normalised texts, for training: each different one of a text once, in the order in which it
   comes, with how often and where it first stood. The hash is that of scoring. */

#ifndef MODERATION_COUNT_H
#define MODERATION_COUNT_H

#include "score.h"

typedef struct {
    uint64_t hash; /* later, its place among those that are wanted */
    uint32_t count;
    uint32_t start, length; /* code points of the text with a space put before and behind it */
} Gram;

typedef struct {
    Gram *grams; /* of all texts, one after the other */
    size_t size, used;
    size_t first;   /* of the text at hand */
    uint32_t *slots; /* an open-addressing table: places from `first`, plus one */
    size_t slots_size, mask;
    uint32_t *code; /* the text between two spaces */
    size_t code_size, length;
    uint64_t *words; /* hash of every word */
    uint32_t *word_starts;
    size_t words_size, starts_size, n_words;
} Counter;

static void counter_free(Counter *c)
{
    free(c->grams);
    free(c->slots);
    free(c->code);
    free(c->words);
    free(c->word_starts);
}

static inline void count_gram(Counter *c, uint64_t hash, size_t start, size_t length)
{
    size_t k = hash & c->mask;
    for (; c->slots[k]; k = (k + 1) & c->mask) {
        Gram *known = c->grams + c->first + c->slots[k] - 1;
        if (known->hash == hash) {
            known->count++;
            return;
        }
    }
    c->grams[c->used] = (Gram){hash, 1, (uint32_t)start, (uint32_t)length};
    c->slots[k] = (uint32_t)(++c->used - c->first);
}

/* Make room for at most `grams` different ones in the next text. */
static int counter_begin(Counter *c, size_t grams)
{
    size_t slots = 64;
    while (slots < 2 * grams) slots *= 2;
    if (reserve(&c->grams, &c->size, c->used + grams, sizeof *c->grams) < 0 ||
        reserve(&c->slots, &c->slots_size, slots, sizeof *c->slots) < 0)
        return -1;
    memset(c->slots, 0, slots * sizeof *c->slots);
    c->mask = slots - 1;
    c->first = c->used;
    return 0;
}

/* Read a text and find its words, which are parted by spaces. */
static int counter_read(Counter *c, PyObject *text)
{
    size_t length = (size_t)PyUnicode_GET_LENGTH(text), end;
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    if (reserve(&c->code, &c->code_size, length + 2, sizeof *c->code) < 0 ||
        reserve(&c->words, &c->words_size, length / 2 + 1, sizeof *c->words) < 0 ||
        reserve(&c->word_starts, &c->starts_size, length / 2 + 2, sizeof *c->word_starts) < 0)
        return -1;
    c->code[0] = c->code[length + 1] = ' ';
    for (size_t k = 0; k < length; k++) c->code[k + 1] = PyUnicode_READ(kind, data, (Py_ssize_t)k);
    c->length = length + 2;
    c->n_words = 0;
    for (size_t k = 0; k < c->length; k = end) {
        uint64_t hash = 0;
        end = k + 1;
        if (c->code[k] == ' ') continue;
        for (end = k; c->code[end] != ' '; end++) hash = hash_step(hash, c->code[end]);
        c->word_starts[c->n_words] = (uint32_t)k;
        c->words[c->n_words++] = hash;
    }
    c->word_starts[c->n_words] = (uint32_t)c->length;
    return 0;
}

static inline size_t word_end(const Counter *c, size_t word)
{
    size_t end = c->word_starts[word];
    while (c->code[end] != ' ') end++;
    return end;
}

static int count_words(Counter *c, size_t low, size_t high, uint64_t seed)
{
    if (counter_begin(c, c->n_words * (high - low + 1)) < 0) return -1;
    for (size_t first = 0; first < c->n_words; first++) {
        uint64_t hash = seed;
        for (size_t size = 1; size <= high && first + size <= c->n_words; size++) {
            hash = hash_step(hash, c->words[first + size - 1]);
            if (size >= low)
                count_gram(c, hash_mix(hash), c->word_starts[first],
                           word_end(c, first + size - 1) - c->word_starts[first]);
        }
    }
    return 0;
}

/* Character n-grams of every word with its borders; a word shorter than an n-gram counts once, whole. */
static int count_chars(Counter *c, size_t low, size_t high, uint64_t seed)
{
    if (counter_begin(c, (c->length + c->n_words) * (high - low + 1)) < 0) return -1;
    for (size_t word = 0; word < c->n_words; word++) {
        size_t start = c->word_starts[word] - 1, end = word_end(c, word) + 1;
        for (size_t first = start; first < end; first++) {
            uint64_t hash = seed;
            for (size_t k = first; k < end && k < first + high; k++) {
                hash = hash_step(hash, c->code[k]);
                if (k + 1 - first >= low || (first == start && k + 1 == end))
                    count_gram(c, hash_mix(hash), first, k + 1 - first);
            }
        }
    }
    return 0;
}

/* The hashes that are wanted, sorted; their upper `bits` choose a bucket, as in model.h. */
typedef struct {
    const uint64_t *hashes;
    const uint32_t *buckets; /* 2**bits + 1 places of first hashes */
    size_t n;
    int bits;
} Wanted;

/* Keep of the last text what is wanted, and put its place among the wanted for its hash. Bounds hold in any case. */
static void counter_keep(Counter *c, const Wanted *wanted)
{
    size_t kept = c->first;
    for (size_t k = c->first; k < c->used; k++) {
        Gram gram = c->grams[k];
        const uint32_t *bucket = wanted->buckets + (gram.hash >> (64 - wanted->bits));
        size_t place = bucket[0], last = bucket[1] < wanted->n ? bucket[1] : wanted->n;
        while (place < last && wanted->hashes[place] != gram.hash) place++;
        if (place >= last) continue;
        gram.hash = place;
        c->grams[kept++] = gram;
    }
    c->used = kept;
}

#endif
