/* Explaining one comment: what each of its tokens adds to each label. */

#ifndef MODERATION_EXPLAIN_H
#define MODERATION_EXPLAIN_H

#include "score.h"

typedef struct {
    size_t n_tokens;
    int32_t *starts, *ends; /* of each token in the text, in code points */
    int32_t *sentences;     /* the number of each token's sentence, without gaps */
    double *shares;         /* n_tokens rows of as many numbers as there are labels, in log-odds */
    double norm_words;
} Explained;

static void explained_free(Explained *x)
{
    free(x->starts);
    free(x->ends);
    free(x->sentences);
    free(x->shares);
}

static double inverse_norm(double norm) { return norm > 0 ? 1.0 / sqrt(norm) : 0.0; }

/* A token's own share: the word and its character n-grams, each split evenly over the places where it occurs. */
static void share_token(Workspace *w, const Model *m, const Entry *e, double *shares)
{
    const uint32_t *features = entry_features(e, m);
    double norm = inverse_norm(w->norms[1]);
    memcpy(shares, entry_sums(e, m), (size_t)m->labels * sizeof *shares);
    for (uint32_t k = 0; k < e->n_features; k++) {
        uint32_t count = count_of(w, features[k]);
        const char *row = row_of(m, features[k]);
        if (count > 1) add_weights(shares, row, (sublinear(w, count) / count - 1.0) * idf_of(row), m->labels);
    }
    for (int j = 0; j < m->labels; j++) shares[j] *= norm;
    if (e->word != NONE) {
        uint32_t count = count_of(w, e->word);
        double value = sublinear(w, count) / count * idf_of(entry_row(e)) * inverse_norm(w->norms[0]);
        add_weights(shares, entry_row(e), value, m->labels);
    }
}

/* A word n-gram's share, split evenly over its tokens. */
static int share_words(void *context, Workspace *w, const Model *m, Found found)
{
    Explained *x = context;
    uint32_t count = count_of(w, found.feature);
    const char *row = row_of(m, found.feature);
    double value = sublinear(w, count) / count * idf_of(row) * x->norm_words / found.size;
    for (uint32_t k = 0; k < found.size; k++)
        add_weights(x->shares + (found.first + k) * (size_t)m->labels, row, value, m->labels);
    return 0;
}

static int ends_sentence(Py_UCS4 c) { return c == '.' || c == '!' || c == '?' || c == 0x2026; }

static int closes(Py_UCS4 c)
{
    return c == '"' || c == '\'' || c == ')' || c == ']' || c == 0x201D || c == 0x2019 || c == 0xBB;
}

/* Number the sentences as moderation.emphasis.sentences does: after an end, what closes it, and white space, or after a
 * line, whatever comes next begins another. Numbers without a token are left out. */
static void number_sentences(PyObject *text, Explained *x)
{
    enum { INSIDE, ENDED, OVER } state = INSIDE;
    int kind = PyUnicode_KIND(text), begun = 0;
    const void *data = PyUnicode_DATA(text);
    int32_t number = 0;
    size_t token = 0;
    for (Py_ssize_t i = 0; token < x->n_tokens; i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        int space = Py_UNICODE_ISSPACE(c);
        if (state == OVER && !space) {
            state = INSIDE;
            begun = token > 0;
        }
        for (; token < x->n_tokens && x->starts[token] == i; token++) {
            number += begun;
            begun = 0;
            x->sentences[token] = number;
        }
        if (c == '\n' || (space && state == ENDED))
            state = OVER;
        else if (ends_sentence(c))
            state = ENDED;
        else if (state == ENDED && !closes(c))
            state = INSIDE;
    }
}

/* Explain the first `limit` code points of a text; -1 when memory is short. Needs no GIL. */
static int explain(Workspace *w, const Model *m, PyObject *text, Explained *x)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    size_t labels = (size_t)m->labels, n = 0;
    Token t;
    if (fold_text(&w->folded, text, length < m->limit ? length : m->limit, 1) < 0) return -1;
    if (read_comment(w, m, &x->n_tokens) < 0) return -1;
    correct(w, m);
    x->starts = malloc((x->n_tokens + 1) * sizeof *x->starts);
    x->ends = malloc((x->n_tokens + 1) * sizeof *x->ends);
    x->sentences = malloc((x->n_tokens + 1) * sizeof *x->sentences);
    x->shares = malloc((x->n_tokens + 1) * labels * sizeof *x->shares);
    if (!x->starts || !x->ends || !x->sentences || !x->shares || scan_begin(&w->scanner, &w->folded) < 0) return -1;
    while (n < x->n_tokens) {
        scan_group(&w->scanner);
        if (!scan_next(&w->scanner, &t)) break;
        Entry *e = entry_of(w, m, &t);
        if (!e) return -1;
        x->starts[n] = w->folded.origin[t.start];
        x->ends[n] = w->folded.origin[t.end - 1] + 1;
        share_token(w, m, e, x->shares + n++ * labels);
    }
    x->norm_words = inverse_norm(w->norms[0]);
    if (each_words(w, m, x->n_tokens, share_words, x) < 0) return -1;
    for (size_t k = 0; k < x->n_tokens * labels; k++) x->shares[k] *= m->scale[k % labels];
    number_sentences(text, x);
    return 0;
}

typedef struct {
    float emphasis; /* in single precision, as moderation.paths ranks by it: the last bits of doubles differ by path */
    double weight;
    size_t token;
} Reason;

/* By emphasis; of equal ones the first in the text. */
static int compare_reasons(const void *a, const void *b)
{
    const Reason *x = a, *y = b;
    if (x->emphasis != y->emphasis) return x->emphasis > y->emphasis ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

#define MOST_ODDS 6.0
#define LONG_WORD 6

/* The odds that a sentence would give if it stood alone; `sum` and `words` are its own, `all` the words of the text. */
static double odds_alone(double sum, uint32_t words, size_t all)
{
    return exp(fmin(fmax(sum * sqrt((double)all / words), -MOST_ODDS), MOST_ODDS));
}

/* Return the tokens that pull towards a label, sorted as moderation.emphasis says; NULL when memory is short. */
static Reason *reasons_of(const Explained *x, const Model *m, int label, size_t *n)
{
    Reason *reasons = malloc((x->n_tokens + 1) * sizeof *reasons);
    double *sums = calloc(x->n_tokens + 1, sizeof *sums);
    uint32_t *words = calloc(x->n_tokens + 1, sizeof *words);
    const double *shares = x->shares + label;
    *n = 0;
    if (!reasons || !sums || !words) {
        free(reasons);
        free(sums);
        free(words);
        return NULL;
    }
    for (size_t k = 0; k < x->n_tokens; k++) {
        sums[x->sentences[k]] += shares[k * (size_t)m->labels];
        words[x->sentences[k]]++;
    }
    for (size_t k = 0; k < x->n_tokens; k++) {
        int32_t sentence = x->sentences[k], length = x->ends[k] - x->starts[k];
        double weight = shares[k * (size_t)m->labels];
        double odds = odds_alone(sums[sentence], words[sentence], x->n_tokens);
        double emphasis = weight * odds * (length < LONG_WORD ? length : LONG_WORD);
        if (weight > 0) reasons[(*n)++] = (Reason){(float)emphasis, weight, k};
    }
    free(sums);
    free(words);
    qsort(reasons, *n, sizeof *reasons, compare_reasons);
    return reasons;
}

#endif
