/* Tokenising: the regular expression of moderation/text.py by hand, one alternative a function, in its order.

   Every function looks at a bounded stretch or at one that it or its caller then consumes, so reading is linear. */

#ifndef MODERATION_SCAN_H
#define MODERATION_SCAN_H

#include "fold.h"

#define HASH_STEP 0x9e3779b97f4a7c15ull
#define HASH_MIX 0xd6e8feb86659fd93ull

/* The hash of n-grams is part of the bundle format: moderation/index.py has the same in Python. */
static inline uint64_t hash_step(uint64_t h, uint64_t value) { return (h ^ value) * HASH_STEP; }

static inline uint64_t hash_mix(uint64_t h)
{
    h ^= h >> 32;
    h *= HASH_MIX;
    return h ^ h >> 29;
}

typedef struct {
    size_t start, end; /* where it stood in the folded text */
    const uint32_t *form; /* its normalised form: folded characters, of which `code` counts */
    uint32_t *own;        /* room for a form that is not the folded text's own */
    size_t length;
    uint64_t hash; /* of the form */
    int stretched; /* whether a character stands three times in a row */
} Token;

/* A reader of one folded text. */
typedef struct {
    const Folded *folded;
    size_t place;
    uint32_t *memory; /* holds the forms of the tokens since `scan_group` */
    size_t capacity, used;
} Scanner;

/* Begin a text; -1 when memory is short. */
static int scan_begin(Scanner *s, const Folded *folded)
{
    /* A form is no longer than what it stood for, and two borders come with it. */
    size_t wanted = 3 * folded->length + 64;
    s->folded = folded;
    s->place = s->used = 0;
    if (wanted > s->capacity) {
        uint32_t *memory = realloc(s->memory, (wanted + wanted / 2) * sizeof *memory);
        if (!memory) return -1;
        s->memory = memory;
        s->capacity = wanted + wanted / 2;
    }
    return 0;
}

/* Let go of the forms of the tokens that have been read. */
static void scan_group(Scanner *s) { s->used = 0; }

static inline uint32_t code(uint32_t folded) { return folded & CODE; }

/* (?:https?://|www\.)[^ ]+ : return one past its end, 0 when there is none. */
static size_t match_url(const uint32_t *f, size_t i, size_t n)
{
    static const char *const openings[] = {"http://", "https://", "www."};
    for (int k = 0; k < 3; k++) {
        const char *want = openings[k];
        size_t j = i;
        while (*want && code(f[j]) == (uint32_t)*want) j++, want++;
        if (*want || j >= n || f[j] & SPACE) continue;
        while (j < n && !(f[j] & SPACE)) j++;
        return j;
    }
    return 0;
}

/* _WORD[\w.+-]{0,63}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,5} : one past its end, or 0. */
static size_t match_email(const uint32_t *f, size_t i)
{
    size_t j = i + 1, most = j + 63, end = 0;
    while (j < most && f[j] & LOCAL) j++;
    if (code(f[j]) != '@') return 0;
    for (int part = 0; part <= 5; part++) {
        size_t first = ++j; /* past the @ or the dot */
        while (j < first + 63 && f[j] & HOST) j++;
        if (j == first) break;
        if (part) end = j;
        if (code(f[j]) != '.') break;
    }
    return end;
}

/* _GLUE : return its length at i, 0 when there is none. */
static inline size_t match_glue(const uint32_t *f, size_t i)
{
    size_t j = i + 1;
    switch (code(f[i])) {
    case '\'': return f[j] & WORD ? 1 : 0;
    case '*':
        while (code(f[j]) == '*') j++;
        return f[j] & LETTER ? j - i : 0;
    case '@':
    case '!': return f[j] & LETTER ? 1 : 0;
    case '$':
        if (code(f[j]) == '$') j++;
        return f[j] & LETTER ? j - i : 0;
    default: return 0;
    }
}

/* Single letters in a row, parted by [ _-]+, by dots or by stars: one past its end, or 0. */
static size_t match_spaced(const uint32_t *f, size_t i)
{
    size_t j = i + 1, before = 0;
    uint32_t part = code(f[j]);
    int parts = f[j] & PART ? 1 : 0, letters = 0;
    if (!parts && part != '.' && part != '*') return 0;
    for (;;) {
        size_t k = j;
        if (parts)
            while (f[k] & PART) k++;
        else if (code(f[k]) == part)
            k++;
        if (k == j || !(f[k] & LETTER)) break;
        before = j;
        j = k + 1;
        letters++;
    }
    if (letters < 2) return 0;
    if (!(f[j] & WORD) && !match_glue(f, j)) return j;
    /* Without its last letter it ends before a separator; a star would then be glue. */
    return letters > 2 && part != '*' ? before : 0;
}

/* _WORD{1,3}\*{2,}(?![\w*]) : one past its end, or 0. */
static size_t match_masked(const uint32_t *f, size_t i)
{
    size_t j = i, stars;
    while (j < i + 4 && f[j] & WORD) j++;
    if (j > i + 3 || code(f[j]) != '*') return 0;
    stars = j;
    while (code(f[j]) == '*') j++;
    if (j < stars + 2 || f[j] & ALNUM || code(f[j]) == '_') return 0;
    return j;
}

static inline void put(Token *t, uint32_t c)
{
    size_t n = t->length;
    t->stretched |= n >= 2 && t->own[n - 1] == c && t->own[n - 2] == c;
    t->own[t->length++] = c;
    t->hash = hash_step(t->hash, c);
}

/* Cut runs of three or more of a letter or star, as `_cut` does. */
static void cut_runs(Token *t)
{
    size_t n = t->length, i = 0;
    t->length = 0;
    t->hash = 0;
    while (i < n) {
        uint32_t c = t->own[i];
        size_t end = i + 1, keep;
        while (end < n && t->own[end] == c) end++;
        keep = end - i;
        if (keep >= 3 && c == '*')
            keep = 2;
        else if (keep >= 3 && classify(c) & LETTER)
            keep = (end == n && (i == 0 || c == 'l' || c == 's')) ? 2 : 1;
        for (i = end; keep > 0; keep--) {
            t->own[t->length++] = c;
            t->hash = hash_step(t->hash, c);
        }
    }
}

static uint32_t leet_letter(uint32_t c)
{
    switch (c) {
    case '0': return 'o';
    case '1': return 'i';
    case '3': return 'e';
    case '4': return 'a';
    case '5': return 's';
    case '7': return 't';
    case '@': return 'a';
    case '$': return 's';
    default: return 'i'; /* ! */
    }
}

/* Write the form of f[i:end] as `_plain` does: leet between letters read as letters, long runs cut. */
static void put_plain(Token *t, const uint32_t *f, size_t i, size_t end)
{
    for (size_t first = i; i < end; i++) {
        uint32_t c = f[i];
        if (UNLIKELY(c & LEET) && i > first && f[i - 1] & LETTER) {
            int two = i + 2 < end && f[i + 1] & LEET && f[i + 2] & LETTER;
            if (two || (i + 1 < end && f[i + 1] & LETTER)) {
                put(t, leet_letter(code(c)));
                if (two) put(t, leet_letter(code(f[++i])));
                continue;
            }
        }
        put(t, code(c));
    }
    if (UNLIKELY(t->stretched)) cut_runs(t);
}

/* Read a word whose form is the text itself, as nearly all are: one past its end, or 0 when there is more to it. */
static inline size_t read_simple(Token *t, const uint32_t *f, size_t i)
{
    uint64_t hash = 0;
    uint32_t all = 0, stretched = 0;
    size_t end = i;
    for (uint32_t before = 0, last = 0; f[end] & WORD; end++) {
        uint32_t c = f[end];
        stretched |= (c == last) & (c == before);
        before = last;
        last = c;
        all |= c;
        hash = hash_step(hash, code(c));
    }
    if (UNLIKELY(stretched || all & LEET || match_glue(f, end))) return 0;
    t->form = f + i;
    t->length = end - i;
    t->hash = hash;
    return end;
}

/* Return the code points of a token's form, with a space before and behind them. */
static uint32_t *padded_form(Token *t)
{
    for (size_t k = 0; k < t->length; k++) t->own[k] = code(t->form[k]);
    t->own[-1] = t->own[t->length] = ' ';
    t->form = t->own;
    return t->own - 1;
}

static void put_name(Token *t, const char *name)
{
    while (*name) put(t, (uint32_t)*name++);
}

/* Read the next token; 0 at the end of the text. Its form is kept until `scan_group`. */
static int scan_next(Scanner *s, Token *t)
{
    const uint32_t *f = s->folded->at;
    size_t n = s->folded->length, i = s->place, end;
    t->form = t->own = s->memory + s->used + 1;
    t->length = 0;
    t->hash = 0;
    t->stretched = 0;
    for (;; i++) {
        uint32_t c;
        while (f[i] & SPACE) i++;
        if (i >= n) return 0;
        c = f[i];
        t->start = i;
        if (UNLIKELY(code(c) == 'h' || code(c) == 'w') && (end = match_url(f, i, n))) {
            put_name(t, "http");
            break;
        }
        if (LIKELY(c & WORD)) {
            if (!(f[i - 1] & WORD)) {
                if (UNLIKELY(s->folded->has_at_sign) && (end = match_email(f, i))) {
                    put_name(t, "email");
                    break;
                }
                if (c & LETTER && (end = match_spaced(f, i))) {
                    for (size_t k = i; k < end; k++)
                        if (f[k] & LETTER) put(t, code(f[k]));
                    if (t->stretched) cut_runs(t);
                    break;
                }
                if ((end = match_masked(f, i))) {
                    put_plain(t, f, i, end);
                    break;
                }
            }
            if (LIKELY((end = read_simple(t, f, i)))) break;
            for (end = i + 1;;) {
                size_t glue;
                while (f[end] & WORD) end++;
                if (!(glue = match_glue(f, end))) break;
                end += glue;
            }
            put_plain(t, f, i, end);
            break;
        }
        /* A joint is no token. */
        if (code(c) == '_') continue;
        if (code(c) == '-' && f[i - 1] & ALNUM && f[i + 1] & ALNUM) continue;
        for (end = i + 1; end < n && f[end] == c; end++) {}
        put(t, code(c));
        if (end > i + 1) put(t, code(c));
        break;
    }
    t->end = s->place = end;
    s->used += t->length + 2;
    return 1;
}

#endif
