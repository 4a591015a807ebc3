/* Folding: every code point of a text to what it counts as, with its classes, by a table that Python fills.

   `moderation.text.fold_character` is the one definition. A cell of the table is filled by calling it when its code
   point is first met, while the GIL is held; reading needs no lock, for a cell never changes once it is filled. */

#ifndef MODERATION_FOLD_H
#define MODERATION_FOLD_H

#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PREFETCH(p) __builtin_prefetch(p)
#else
#define LIKELY(x) (x)
#define UNLIKELY(x) (x)
#define PREFETCH(p) ((void)(p))
#endif

/* A folded character: its code point in the lower 21 bits, its classes above. The names follow moderation/text.py. */
#define CODE 0x1fffffu
#define LETTER (1u << 21) /* _LETTER: [^\W\d_] */
#define WORD (1u << 22)   /* _WORD: [^\W_] and the blocks in which marks carry the word */
#define ALNUM (1u << 23)  /* [^\W_] */
#define LEET (1u << 24)   /* [013457@$!] */
#define HOST (1u << 25)   /* [a-z0-9-] */
#define LOCAL (1u << 26)  /* [\w.+-] */
#define SPACE (1u << 27)  /* the space, the only white space that folding leaves */
#define PART (1u << 28)   /* [ _-] */
#define AT_SIGN (1u << 31)

/* The kinds of cell: not yet filled, one character, none, or a stretch of the pool. Folded characters keep SINGLE. */
#define KIND (3u << 29)
#define UNKNOWN 0u
#define SINGLE (1u << 29)
#define NOTHING (2u << 29)
#define SEVERAL (3u << 29)
#define POOL_PLACE 0xffffffu
#define POOL_LENGTH(cell) (((cell) >> 24) & 31u)

#define PAGES 0x1100
#define POOL_SIZE (1u << 18) /* all of Unicode 15 takes 36,454 */

static uint32_t *fold_pages[PAGES];
static uint32_t *fold_pool;
static uint32_t fold_pool_used;
static PyObject *fold_function;

/* Return a folded character with its classes. */
static uint32_t classify(Py_UCS4 c)
{
    uint32_t flags = 0;
    int alnum = Py_UNICODE_ISALNUM(c);
    if (alnum) flags |= ALNUM | WORD | LOCAL;
    if (alnum && !Py_UNICODE_ISDECIMAL(c)) flags |= LETTER;
    if ((c >= 0x900 && c <= 0xdff) || (c >= 0xe00 && c <= 0xeff) || (c >= 0x1000 && c <= 0x109f)) flags |= WORD;
    if (c < 128 && c && strchr("013457@$!", (int)c)) flags |= LEET;
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-') flags |= HOST;
    if (c == '_' || c == '.' || c == '+' || c == '-') flags |= LOCAL;
    if (c == ' ') flags |= SPACE;
    if (c == ' ' || c == '_' || c == '-') flags |= PART;
    if (c == '@') flags |= AT_SIGN;
    return (uint32_t)c | flags | SINGLE;
}

/* Fill one cell; -1 with an exception set when that fails. Needs the GIL. */
static int fold_fill(Py_UCS4 c)
{
    uint32_t **page = &fold_pages[c >> 8], cell = NOTHING;
    PyObject *folded;
    Py_ssize_t length;
    if (!*page && !(*page = calloc(256, sizeof **page))) return PyErr_NoMemory(), -1;
    if (!fold_pool && !(fold_pool = malloc(POOL_SIZE * sizeof *fold_pool))) return PyErr_NoMemory(), -1;
    folded = PyObject_CallFunction(fold_function, "N", PyUnicode_FromOrdinal((int)c));
    if (!folded) return -1;
    if (!PyUnicode_Check(folded) || (length = PyUnicode_GET_LENGTH(folded)) > 31 ||
        fold_pool_used + (uint32_t)length > POOL_SIZE) {
        Py_DECREF(folded);
        PyErr_SetString(PyExc_RuntimeError, "fold_character: expected a string of at most 31 characters");
        return -1;
    }
    if (length == 1)
        cell = classify(PyUnicode_READ_CHAR(folded, 0));
    else if (length) {
        cell = SEVERAL | (uint32_t)length << 24 | fold_pool_used;
        for (Py_ssize_t k = 0; k < length; k++) fold_pool[fold_pool_used++] = classify(PyUnicode_READ_CHAR(folded, k));
    }
    Py_DECREF(folded);
    (*page)[c & 255] = cell;
    return 0;
}

/* Fill the cells of every code point of a text. Needs the GIL. */
static int fold_prepare(PyObject *text, Py_ssize_t length)
{
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    if (kind == PyUnicode_1BYTE_KIND) return 0; /* the first page is filled when the module is loaded */
    for (Py_ssize_t k = 0; k < length; k++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, k);
        const uint32_t *page = fold_pages[c >> 8];
        if (UNLIKELY(!page || page[c & 255] == UNKNOWN) && fold_fill(c) < 0) return -1;
    }
    return 0;
}

/* A folded text. `at` has a character without any class before its first and two after its last, so that looking
   behind and ahead needs no bounds. */
typedef struct {
    uint32_t *memory, *at;
    int32_t *origin; /* place of each character in the text, when asked for */
    size_t length, capacity;
    int has_at_sign;
} Folded;

#define MARGIN 4

static int folded_reserve(Folded *f, size_t capacity, int with_origin)
{
    if (capacity > f->capacity || !f->memory) {
        size_t wanted = capacity + capacity / 2 + 64;
        uint32_t *memory = realloc(f->memory, (wanted + 2 * MARGIN) * sizeof *memory);
        if (!memory) return -1;
        f->memory = memory;
        f->at = memory + MARGIN;
        memset(memory, 0, MARGIN * sizeof *memory);
        f->capacity = wanted;
        free(f->origin);
        f->origin = NULL;
    }
    if (with_origin && !f->origin && !(f->origin = malloc((f->capacity + 1) * sizeof *f->origin))) return -1;
    return 0;
}

/* How many characters a text folds to. */
static size_t folded_length(int kind, const void *data, Py_ssize_t length)
{
    size_t total = 0;
    for (Py_ssize_t k = 0; k < length; k++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, k);
        uint32_t cell = fold_pages[c >> 8][c & 255];
        total += (cell & KIND) == SINGLE ? 1 : (cell & KIND) == SEVERAL ? POOL_LENGTH(cell) : 0;
    }
    return total;
}

/* Fold one character: one code point out, mostly. */
#define FOLD_ONE(CELL)                                                                                                 \
    do {                                                                                                               \
        uint32_t cell = (CELL);                                                                                        \
        if (LIKELY((cell & KIND) == SINGLE)) {                                                                         \
            all |= cell;                                                                                               \
            if (origin) origin[n] = (int32_t)k;                                                                        \
            out[n++] = cell;                                                                                           \
        } else if ((cell & KIND) == SEVERAL) {                                                                         \
            const uint32_t *from = fold_pool + (cell & POOL_PLACE);                                                    \
            for (uint32_t part = 0; part < POOL_LENGTH(cell); part++) {                                                \
                all |= from[part];                                                                                     \
                if (origin) origin[n] = (int32_t)k;                                                                    \
                out[n++] = from[part];                                                                                 \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

/* Fold the first `length` code points of a text whose cells are filled; -1 when memory is short. Needs no GIL. */
static int fold_text(Folded *f, PyObject *text, Py_ssize_t length, int with_origin)
{
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    const Py_UCS1 *bytes = data;
    const uint32_t *first = fold_pages[0];
    uint32_t *out, all = 0;
    int32_t *origin;
    Py_ssize_t k = 0;
    size_t n = 0, wanted = PyUnicode_IS_ASCII(text) ? (size_t)length : folded_length(kind, data, length);
    if (folded_reserve(f, wanted, with_origin) < 0) return -1;
    out = f->at;
    origin = with_origin ? f->origin : NULL;
    if (kind == PyUnicode_1BYTE_KIND) {
        /* Four at a time while each is one character: no kind but SINGLE lacks the upper bit. */
        for (; !origin && k + 4 <= length; k += 4, n += 4) {
            uint32_t c0 = first[bytes[k]], c1 = first[bytes[k + 1]], c2 = first[bytes[k + 2]], c3 = first[bytes[k + 3]];
            uint32_t some = c0 | c1 | c2 | c3;
            if (UNLIKELY(some & NOTHING)) break;
            all |= some;
            out[n] = c0, out[n + 1] = c1, out[n + 2] = c2, out[n + 3] = c3;
        }
        for (; k < length; k++) FOLD_ONE(first[bytes[k]]);
    } else if (kind == PyUnicode_2BYTE_KIND) {
        const Py_UCS2 *codes = data;
        for (; k < length; k++) FOLD_ONE(fold_pages[codes[k] >> 8][codes[k] & 255]);
    } else {
        const Py_UCS4 *codes = data;
        for (; k < length; k++) FOLD_ONE(fold_pages[codes[k] >> 8][codes[k] & 255]);
    }
    memset(out + n, 0, MARGIN * sizeof *out);
    f->length = n;
    f->has_at_sign = (all & AT_SIGN) != 0;
    return 0;
}

#endif
