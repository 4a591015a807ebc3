/* moderation._ngrams: the compiled scoring path, equal to the pure one in moderation/scorer.py and explain.py.

   fold.h      a text's code points to what they count as
   scan.h      the folded text to tokens, with the hash of n-grams
   model.h     features by the hash of their n-gram
   score.h     a comment's log-odds
   explain.h   each token's share of them
   count.h     the n-grams of texts to train on

   A `Kernel` is safe to share between threads: a call takes a workspace of its own, reads strings that it holds
   references to, and releases the GIL while it works. */

#define PY_SSIZE_T_CLEAN
#include "count.h"
#include "explain.h"

typedef struct {
    PyObject_HEAD
    Model model;
    Py_buffer rows, fingerprints, words, chars;
    Workspace *idle; /* guarded by the GIL */
} Kernel;

static Workspace *take_workspace(Kernel *self)
{
    Workspace *w = self->idle;
    if (w)
        self->idle = w->next;
    else if (!(w = workspace_new(&self->model)))
        PyErr_NoMemory();
    return w;
}

static void give_back(Kernel *self, Workspace *w)
{
    w->next = self->idle;
    self->idle = w;
}

static void kernel_dealloc(PyObject *object)
{
    Kernel *self = (Kernel *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_buffer *buffers[] = {&self->rows, &self->fingerprints, &self->words, &self->chars};
    for (int k = 0; k < 4; k++)
        if (buffers[k]->obj) PyBuffer_Release(buffers[k]);
    while (self->idle) {
        Workspace *next = self->idle->next;
        workspace_free(self->idle);
        self->idle = next;
    }
    type->tp_free(object);
    Py_DECREF(type);
}

/* Read `labels` doubles from a sequence. */
static int read_numbers(PyObject *sequence, double *out, int labels, const char *name)
{
    PyObject *fast = PySequence_Fast(sequence, name);
    if (!fast) return -1;
    if (PySequence_Fast_GET_SIZE(fast) != labels) {
        Py_DECREF(fast);
        return PyErr_Format(PyExc_ValueError, "%s: expected %d numbers", name, labels), -1;
    }
    for (int j = 0; j < labels; j++) {
        out[j] = PyFloat_AsDouble(PySequence_Fast_GET_ITEM(fast, j));
        if (out[j] == -1.0 && PyErr_Occurred()) return Py_DECREF(fast), -1;
    }
    Py_DECREF(fast);
    return 0;
}

/* Check that 2**bits + 1 buckets come, and tell the bits; 0 with an exception set when not. */
static int bits_of(const Py_buffer *buckets, const char *name)
{
    for (int bits = 1; bits <= 30; bits++)
        if (buckets->len == (((Py_ssize_t)1 << bits) + 1) * 4) return bits;
    PyErr_Format(PyExc_ValueError, "%s: expected 2**bits + 1 numbers of 32 bits", name);
    return 0;
}

static int kernel_fill(Kernel *self, uint32_t n_words)
{
    Model *m = &self->model;
    Py_ssize_t features = self->fingerprints.len / 4;
    if (m->words.low < 1 || m->chars.low < 1 || m->words.high < m->words.low || m->chars.high < m->chars.low ||
        m->words.high > 32 || m->chars.high > 32 || m->limit < 0 || m->limit > INT32_MAX / 32)
        return PyErr_SetString(PyExc_ValueError, "a bound is out of range"), -1;
    m->stride = 4 + 2 * (size_t)m->labels;
    if (features >= (Py_ssize_t)1 << 31 || (Py_ssize_t)n_words > features ||
        self->rows.len != features * (Py_ssize_t)m->stride || (uintptr_t)self->fingerprints.buf % 4 ||
        (uintptr_t)self->words.buf % 4 || (uintptr_t)self->chars.buf % 4)
        return PyErr_SetString(PyExc_ValueError, "arrays of the model do not fit each other"), -1;
    if (!(m->words.bits = bits_of(&self->words, "words")) || !(m->chars.bits = bits_of(&self->chars, "chars")))
        return -1;
    m->rows = self->rows.buf;
    m->fingerprints = self->fingerprints.buf;
    m->words.buckets = self->words.buf;
    m->chars.buckets = self->chars.buf;
    m->words.end = m->chars.first = n_words;
    m->chars.end = (uint32_t)features;
    return 0;
}

static PyObject *kernel_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"rows",        "fingerprints", "word_buckets", "char_buckets", "n_words", "seed",
                            "word_ngrams", "char_ngrams",  "scale",        "intercept",    "limit",   NULL};
    PyObject *scale, *intercept;
    unsigned int n_words;
    unsigned long long seed;
    Kernel *self = (Kernel *)type->tp_alloc(type, 0);
    Model *m;
    Py_ssize_t labels;
    if (!self) return NULL;
    m = &self->model;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*y*y*y*IK(ii)(ii)OOn", names, &self->rows, &self->fingerprints,
                                     &self->words, &self->chars, &n_words, &seed, &m->words.low, &m->words.high,
                                     &m->chars.low, &m->chars.high, &scale, &intercept, &m->limit))
        goto fail;
    labels = PySequence_Size(scale);
    if (labels < 1 || labels > MOST_LABELS) {
        if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "scale: expected 1 to %d numbers", MOST_LABELS);
        goto fail;
    }
    m->labels = (int)labels;
    m->words.seed = block_seed(seed, 0);
    m->chars.seed = block_seed(seed, 1);
    if (read_numbers(scale, m->scale, m->labels, "scale") < 0 ||
        read_numbers(intercept, m->intercept, m->labels, "intercept") < 0 || kernel_fill(self, n_words) < 0)
        goto fail;
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

/* Make a text ready to be read without the GIL. */
static int prepare(PyObject *text, Py_ssize_t limit)
{
    Py_ssize_t length;
#if PY_VERSION_HEX < 0x030c0000
    if (PyUnicode_READY(text) < 0) return -1;
#endif
    length = PyUnicode_GET_LENGTH(text);
    return fold_prepare(text, length < limit ? length : limit);
}

PyDoc_STRVAR(weigh_doc, "weigh(texts, out, probabilities)\n--\n\n"
             "Write log-odds, or probabilities, of a tuple of texts to `out`, float64 of shape (n_texts, n_labels).\n\n"
             "Return how many were scored: fewer than given when the next one is no string.");

static PyObject *kernel_weigh(PyObject *object, PyObject *args)
{
    Kernel *self = (Kernel *)object;
    const Model *m = &self->model;
    PyObject *texts;
    Py_buffer out;
    Py_ssize_t n;
    int probabilities, failed = 0;
    Workspace *w = NULL;
    if (!PyArg_ParseTuple(args, "O!w*p", &PyTuple_Type, &texts, &out, &probabilities)) return NULL;
    for (n = 0; n < PyTuple_GET_SIZE(texts) && PyUnicode_Check(PyTuple_GET_ITEM(texts, n)); n++)
        if (prepare(PyTuple_GET_ITEM(texts, n), m->limit) < 0) goto fail;
    if (out.len < n * m->labels * (Py_ssize_t)sizeof(double)) {
        PyErr_SetString(PyExc_ValueError, "out: too small");
        goto fail;
    }
    if (!(w = take_workspace(self))) goto fail;
    Py_BEGIN_ALLOW_THREADS;
    for (Py_ssize_t k = 0; k < n && !failed; k++) {
        double *row = (double *)out.buf + k * m->labels;
        failed = weigh(w, m, PyTuple_GET_ITEM(texts, k), row) < 0;
        if (probabilities)
            for (int j = 0; j < m->labels; j++) row[j] = 1.0 / (1.0 + exp(-row[j]));
    }
    Py_END_ALLOW_THREADS;
    if (failed) {
        workspace_free(w);
        PyErr_NoMemory();
        goto fail;
    }
    give_back(self, w);
    PyBuffer_Release(&out);
    return PyLong_FromSsize_t(n);
fail:
    PyBuffer_Release(&out);
    return NULL;
}

PyDoc_STRVAR(explain_doc, "explain(text)\n--\n\n"
             "Return starts and ends (int32) of a text's tokens, their shares (float64, a number per label, token after "
             "token), and the numbers of their sentences (int32), as bytes.");

/* Explain a text; -1 with an exception set when that fails. */
static int explain_text(Kernel *self, PyObject *text, Explained *x)
{
    Workspace *w;
    int failed;
    if (!PyUnicode_Check(text)) return PyErr_SetString(PyExc_TypeError, "text: expected a string"), -1;
    if (prepare(text, self->model.limit) < 0 || !(w = take_workspace(self))) return -1;
    Py_BEGIN_ALLOW_THREADS;
    failed = explain(w, &self->model, text, x) < 0;
    Py_END_ALLOW_THREADS;
    if (failed) {
        workspace_free(w);
        PyErr_NoMemory();
        return -1;
    }
    give_back(self, w);
    return 0;
}

static PyObject *kernel_explain(PyObject *object, PyObject *text)
{
    Kernel *self = (Kernel *)object;
    Explained x = {0};
    PyObject *result = NULL;
    if (explain_text(self, text, &x) == 0) {
        Py_ssize_t n = (Py_ssize_t)x.n_tokens;
        result = Py_BuildValue("y#y#y#y#", x.starts, n * 4, x.ends, n * 4, x.shares, n * 8 * self->model.labels,
                               x.sentences, n * 4);
    }
    explained_free(&x);
    return result;
}

PyDoc_STRVAR(reasons_doc, "reasons(text, label, most)\n--\n\n"
             "Return start, end and share of the tokens that pull towards a label, at most `most`, by emphasis.");

static PyObject *kernel_reasons(PyObject *object, PyObject *args)
{
    Kernel *self = (Kernel *)object;
    Explained x = {0};
    PyObject *text, *list = NULL;
    Reason *reasons = NULL;
    Py_ssize_t most;
    size_t n = 0;
    int label;
    if (!PyArg_ParseTuple(args, "Oin", &text, &label, &most)) return NULL;
    if (label < 0 || label >= self->model.labels) return PyErr_SetString(PyExc_ValueError, "label: out of range"), NULL;
    if (explain_text(self, text, &x) == 0) {
        if ((reasons = reasons_of(&x, &self->model, label, &n)))
            list = PyList_New(0);
        else
            PyErr_NoMemory();
    }
    for (size_t k = 0; list && k < n && (Py_ssize_t)k < most; k++) {
        size_t token = reasons[k].token;
        PyObject *reason = Py_BuildValue("iid", (int)x.starts[token], (int)x.ends[token], reasons[k].weight);
        if (!reason || PyList_Append(list, reason) < 0) Py_CLEAR(list);
        Py_XDECREF(reason);
    }
    free(reasons);
    explained_free(&x);
    return list;
}

PyDoc_STRVAR(hash_texts_doc, "hash_texts(texts)\n--\n\n"
             "Return the sum of the hashes of all n-grams of a tuple of texts: the floor for benchmarks.");

static PyObject *kernel_hash_texts(PyObject *object, PyObject *texts)
{
    Kernel *self = (Kernel *)object;
    const Model *m = &self->model;
    Workspace *w;
    uint64_t sum = 0;
    int failed = 0;
    if (!PyTuple_Check(texts)) return PyErr_SetString(PyExc_TypeError, "texts: expected a tuple"), NULL;
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(texts); k++) {
        PyObject *text = PyTuple_GET_ITEM(texts, k);
        if (!PyUnicode_Check(text)) return PyErr_SetString(PyExc_TypeError, "texts: expected strings"), NULL;
        if (prepare(text, m->limit) < 0) return NULL;
    }
    if (!(w = take_workspace(self))) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(texts) && !failed; k++) {
        PyObject *text = PyTuple_GET_ITEM(texts, k);
        Py_ssize_t length = PyUnicode_GET_LENGTH(text);
        failed = fold_text(&w->folded, text, length < m->limit ? length : m->limit, 0) < 0 ||
                 hash_comment(w, m, &sum) < 0;
    }
    Py_END_ALLOW_THREADS;
    if (failed) return workspace_free(w), PyErr_NoMemory();
    give_back(self, w);
    return PyLong_FromUnsignedLongLong(sum);
}

static PyMethodDef kernel_methods[] = {{"weigh", kernel_weigh, METH_VARARGS, weigh_doc},
                                       {"explain", kernel_explain, METH_O, explain_doc},
                                       {"reasons", kernel_reasons, METH_VARARGS, reasons_doc},
                                       {"hash_texts", kernel_hash_texts, METH_O, hash_texts_doc},
                                       {NULL, NULL, 0, NULL}};

static PyType_Slot kernel_slots[] = {{Py_tp_doc, "A model in the form that is fast to score with."},
                                     {Py_tp_new, kernel_new},
                                     {Py_tp_dealloc, kernel_dealloc},
                                     {Py_tp_methods, kernel_methods},
                                     {0, NULL}};

static PyType_Spec kernel_spec = {"moderation._ngrams.Kernel", sizeof(Kernel), 0, Py_TPFLAGS_DEFAULT, kernel_slots};

static PyObject *string_of(const uint32_t *codes, size_t length)
{
    return PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, codes, (Py_ssize_t)length);
}

PyDoc_STRVAR(tokens_doc, "tokens(text)\n--\n\nReturn form, start and end of every token, as moderation.text.tokenise.");

static PyObject *module_tokens(PyObject *module, PyObject *text)
{
    Folded folded = {0};
    Scanner scanner = {0};
    Token t;
    PyObject *list = NULL;
    (void)module;
    if (!PyUnicode_Check(text)) return PyErr_SetString(PyExc_TypeError, "text: expected a string"), NULL;
    if (PyUnicode_GET_LENGTH(text) > INT32_MAX / 32) return PyErr_SetString(PyExc_ValueError, "text: too long"), NULL;
    if (prepare(text, PyUnicode_GET_LENGTH(text)) < 0) return NULL;
    if (fold_text(&folded, text, PyUnicode_GET_LENGTH(text), 1) < 0 || scan_begin(&scanner, &folded) < 0)
        PyErr_NoMemory();
    else
        list = PyList_New(0);
    while (list && (scan_group(&scanner), scan_next(&scanner, &t))) {
        PyObject *token = Py_BuildValue("Nii", string_of(padded_form(&t) + 1, t.length), (int)folded.origin[t.start],
                                        (int)folded.origin[t.end - 1] + 1);
        if (!token || PyList_Append(list, token) < 0) Py_CLEAR(list);
        Py_XDECREF(token);
    }
    free(folded.memory);
    free(folded.origin);
    free(scanner.memory);
    return list;
}

/* Hash an n-gram of words parted by single spaces, or of characters. */
static uint64_t hash_ngram(PyObject *gram, uint64_t h, int words)
{
    int kind = PyUnicode_KIND(gram);
    const void *data = PyUnicode_DATA(gram);
    uint64_t word = 0;
    for (Py_ssize_t k = 0; k < PyUnicode_GET_LENGTH(gram); k++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, k);
        if (!words)
            h = hash_step(h, c);
        else if (c == ' ')
            h = hash_step(h, word), word = 0;
        else
            word = hash_step(word, c);
    }
    return hash_mix(words ? hash_step(h, word) : h);
}

PyDoc_STRVAR(hash_doc, "hash_ngrams(ngrams, seed, block)\n--\n\n"
             "Return the hashes (uint64, as bytes) of a list of n-grams: block 0 of words, block 1 of characters.");

static PyObject *module_hash(PyObject *module, PyObject *args)
{
    PyObject *grams, *result;
    unsigned long long seed;
    unsigned int block;
    uint64_t *out;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!KI", &PyList_Type, &grams, &seed, &block)) return NULL;
    if (!(result = PyBytes_FromStringAndSize(NULL, PyList_GET_SIZE(grams) * 8))) return NULL;
    out = (uint64_t *)PyBytes_AS_STRING(result);
    for (Py_ssize_t k = 0; k < PyList_GET_SIZE(grams); k++) {
        PyObject *gram = PyList_GET_ITEM(grams, k);
        uint64_t h;
        if (!PyUnicode_Check(gram)) {
            Py_DECREF(result);
            return PyErr_Format(PyExc_TypeError, "ngram %zd: expected a string", k), NULL;
        }
        h = hash_ngram(gram, block_seed(seed, block), block == 0);
        memcpy(out + k, &h, sizeof h);
    }
    return result;
}

PyDoc_STRVAR(count_doc, "count_ngrams(texts, block, low, high, wanted=b'', buckets=b'')\n--\n\n"
             "Count the n-grams of a tuple of normalised texts: block 0 of words, block 1 of characters.\n\n"
             "Return bytes: a record (hash, count, start, length) for each different n-gram of each text, and how many "
             "records each text has (uint32). Starts are in the text with a space before it. With sorted hashes that are "
             "wanted (uint64), and their buckets (uint32) by the upper bits, only these are kept, and their places among "
             "the wanted stand for the hashes.");

static PyObject *module_count(PyObject *module, PyObject *args)
{
    PyObject *texts, *sizes = NULL, *result = NULL;
    Counter counter = {0};
    int block, low, high, failed = 0;
    uint64_t seed;
    Py_buffer hashes = {0}, buckets = {0};
    Wanted wanted = {0};
    (void)module;
    if (!PyArg_ParseTuple(args, "O!iii|y*y*", &PyTuple_Type, &texts, &block, &low, &high, &hashes, &buckets))
        return NULL;
    if (block < 0 || block > 1 || low < 1 || high < low || high > 32) {
        PyErr_SetString(PyExc_ValueError, "block, low or high is out of range");
        goto done;
    }
    if (hashes.len) {
        if (!(wanted.bits = bits_of(&buckets, "buckets"))) goto done;
        wanted = (Wanted){hashes.buf, buckets.buf, (size_t)hashes.len / 8, wanted.bits};
        if ((uintptr_t)hashes.buf % 8 || (uintptr_t)buckets.buf % 4) {
            PyErr_SetString(PyExc_ValueError, "wanted, buckets: expected aligned arrays");
            goto done;
        }
    }
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(texts); k++) {
        PyObject *text = PyTuple_GET_ITEM(texts, k);
        if (!PyUnicode_Check(text)) {
            PyErr_Format(PyExc_TypeError, "text %zd: expected a string", k);
            goto done;
        }
#if PY_VERSION_HEX < 0x030c0000
        if (PyUnicode_READY(text) < 0) goto done;
#endif
        if (PyUnicode_GET_LENGTH(text) > INT32_MAX / 64) {
            PyErr_Format(PyExc_ValueError, "text %zd: too long", k);
            goto done;
        }
    }
    if (!(sizes = PyBytes_FromStringAndSize(NULL, PyTuple_GET_SIZE(texts) * 4))) goto done;
    seed = block_seed(0, (uint64_t)block);
    Py_BEGIN_ALLOW_THREADS;
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(texts) && !failed; k++) {
        uint32_t size;
        failed = counter_read(&counter, PyTuple_GET_ITEM(texts, k)) < 0 ||
                 (block ? count_chars : count_words)(&counter, (size_t)low, (size_t)high, seed) < 0;
        if (!failed && wanted.n) counter_keep(&counter, &wanted);
        size = (uint32_t)(counter.used - counter.first);
        memcpy(PyBytes_AS_STRING(sizes) + 4 * k, &size, sizeof size);
    }
    Py_END_ALLOW_THREADS;
    if (failed)
        PyErr_NoMemory();
    else
        result = Py_BuildValue("y#O", counter.grams ? (const char *)counter.grams : "",
                               (Py_ssize_t)(counter.used * sizeof(Gram)), sizes);
done:
    counter_free(&counter);
    Py_XDECREF(sizes);
    if (hashes.obj) PyBuffer_Release(&hashes);
    if (buckets.obj) PyBuffer_Release(&buckets);
    return result;
}

static PyMethodDef module_methods[] = {{"tokens", module_tokens, METH_O, tokens_doc},
                                       {"hash_ngrams", module_hash, METH_VARARGS, hash_doc},
                                       {"count_ngrams", module_count, METH_VARARGS, count_doc},
                                       {NULL, NULL, 0, NULL}};

static int module_exec(PyObject *module)
{
    PyObject *text = PyImport_ImportModule("moderation.text"), *kernel;
    if (!text) return -1;
    Py_XSETREF(fold_function, PyObject_GetAttrString(text, "fold_character"));
    Py_DECREF(text);
    if (!fold_function) return -1;
    for (Py_UCS4 c = 0; c < 256; c++)
        if ((!fold_pages[0] || fold_pages[0][c] == UNKNOWN) && fold_fill(c) < 0) return -1;
    if (!(kernel = PyType_FromSpec(&kernel_spec))) return -1;
    return PyModule_AddObject(module, "Kernel", kernel) < 0 ? (Py_DECREF(kernel), -1) : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module_def = {PyModuleDef_HEAD_INIT, "_ngrams", "The compiled scoring path.", 0,
                                        module_methods, module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__ngrams(void) { return PyModuleDef_Init(&module_def); }
