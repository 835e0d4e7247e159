"""Compiled subject transforms: what accounts.transform describes, executed on bytes.

A transform is a list of steps, one for each token of the destination. It is applied to subjects that its source is
known to match; a subject with fewer tokens than the steps ask for has no result.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy

from broker.core.outbox cimport Hub

cdef dict OPERATIONS = {
    "text": TEXT, "token": TOKEN, "rest": REST, "partition": PARTITION, "random": RANDOM, "split": SPLIT,
    "split from left": SPLIT_LEFT, "split from right": SPLIT_RIGHT,
    "slice from left": SLICE_LEFT, "slice from right": SLICE_RIGHT,
}

# The scratch memory of one application, shared since the core runs in one thread and `apply` calls nobody back.
cdef size_t *scratch_starts = NULL
cdef size_t scratch_start_capacity = 0
cdef char *scratch_text = NULL
cdef size_t scratch_text_length = 0
cdef size_t scratch_text_capacity = 0


cdef int put(const char *text, size_t length) except -1:
    global scratch_text, scratch_text_length, scratch_text_capacity
    cdef char *larger
    if scratch_text_length + length > scratch_text_capacity:
        larger = <char *> realloc(scratch_text, (scratch_text_length + length) * 2 + 64)
        if larger == NULL:
            raise MemoryError()
        scratch_text = larger
        scratch_text_capacity = (scratch_text_length + length) * 2 + 64
    memcpy(scratch_text + scratch_text_length, text, length)
    scratch_text_length += length
    return 0


cdef Py_ssize_t starts(const char *subject, size_t length) except -1:
    """Fills scratch_starts with where each token begins, and behind them where one more would; the number of tokens."""
    global scratch_starts, scratch_start_capacity
    cdef size_t count = 0, at = 0
    cdef const char *dot
    cdef size_t *larger
    while True:
        if count + 2 > scratch_start_capacity:
            larger = <size_t *> realloc(scratch_starts, (count * 2 + 64) * sizeof(size_t))
            if larger == NULL:
                raise MemoryError()
            scratch_starts = larger
            scratch_start_capacity = count * 2 + 64
        scratch_starts[count] = at
        count += 1
        dot = <const char *> memchr(subject + at, b".", length - at)
        if dot == NULL:
            scratch_starts[count] = length + 1
            return count
        at = dot + 1 - subject


cdef inline uint32_t fnv(uint32_t state, const char *text, size_t length) noexcept:
    cdef size_t index
    for index in range(length):
        state = (state ^ <unsigned char> text[index]) * <uint32_t> 0x01000193
    return state


cdef int put_number(long long number) except -1:
    cdef char digits[24]
    return put(digits, snprintf(digits, 24, b"%lld", number))


cdef int put_split(const char *token, size_t length, const char *separator, size_t width) except -1:
    """What stands between separators, joined by dots; nothing of what is empty. An empty one parts all characters."""
    cdef size_t at = 0, begin = 0
    cdef bint first = True
    cdef bytes parts
    if width == 0:
        parts = ".".join(token[:length].decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        return put(PyBytes_AS_STRING(parts), PyBytes_GET_SIZE(parts))
    while at <= length:
        if at < length and (at + width > length or memcmp(token + at, separator, width) != 0):
            at += 1
            continue
        if at > begin:
            if not first:
                put(b".", 1)
            put(token + begin, at - begin)
            first = False
        if at == length:
            break
        at += width
        begin = at
    return 0


cdef int put_pieces(int operation, const char *token, size_t length, long long size) except -1:
    """A token in two or in pieces of a size; a size out of range leaves it whole."""
    cdef size_t at, piece
    if size <= 0 or <size_t> size >= length:
        return put(token, length)
    if operation == SPLIT_LEFT or operation == SPLIT_RIGHT:
        at = <size_t> size if operation == SPLIT_LEFT else length - <size_t> size
        put(token, at)
        put(b".", 1)
        return put(token + at, length - at)
    at = length % <size_t> size if operation == SLICE_RIGHT else 0
    if at:
        put(token, at)
    while at < length:
        if at:
            put(b".", 1)
        piece = length - at
        if piece > <size_t> size:
            piece = <size_t> size
        put(token + at, piece)
        at += piece
    return 0


cdef class Transform:
    """One destination. `program` holds a step for each of its tokens: the name of an operation and what it takes.

    `("text", bytes)`, `("token", place)`, `("rest", place)`, `("partition", count, places or None)`,
    `("random", count)`, `("split", place, separator)`, and `("split from left", place, size)` likewise for the other
    three that take a token apart. Places count the tokens of the subject from 0.
    """

    def __cinit__(self, program not None):
        cdef uint32_t index, place
        cdef Step *step
        cdef bytes text
        program = tuple(program)
        if not program:
            raise ValueError("a destination has at least one token")
        self.kept = []
        self.steps = <Step *> calloc(len(program), sizeof(Step))
        if self.steps == NULL:
            raise MemoryError()
        for index, (name, *arguments) in enumerate(program):
            step = &self.steps[index]
            self.step_count = index + 1
            step.operation = OPERATIONS[name]
            if step.operation == TEXT or step.operation == SPLIT:
                text = arguments[len(arguments) - 1]
                self.kept.append(text)
                step.text = PyBytes_AS_STRING(text)
                step.length = PyBytes_GET_SIZE(text)
            if step.operation == PARTITION or step.operation == RANDOM:
                step.number = arguments[0]
            elif step.operation != TEXT:
                step.first = arguments[0]
                if step.operation >= SPLIT_LEFT:
                    step.number = arguments[1]
            if step.operation == RANDOM:
                self.chancy = step.number > 1
            elif step.operation == PARTITION and arguments[1] is not None:
                step.token_count = len(arguments[1])
                step.tokens = <uint32_t *> malloc(max(step.token_count, 1) * sizeof(uint32_t))
                if step.tokens == NULL:
                    raise MemoryError()
                for place in range(step.token_count):
                    step.tokens[place] = arguments[1][place]

    def __dealloc__(self):
        cdef uint32_t index
        if self.steps != NULL:
            for index in range(self.step_count):
                free(self.steps[index].tokens)
            free(self.steps)

    cdef bytes apply(self, const char *subject, size_t length, Hub hub):
        """The subject it becomes, or None when the subject has too few tokens."""
        global scratch_text_length
        cdef size_t count = starts(subject, length)
        cdef uint32_t index, place
        cdef uint32_t state
        cdef Step *step
        cdef const char *token
        cdef size_t size
        scratch_text_length = 0
        for index in range(self.step_count):
            step = &self.steps[index]
            if index:
                put(b".", 1)
            if step.operation == TEXT:
                put(step.text, step.length)
                continue
            if step.operation == RANDOM:
                # Without a choice there is no need of chance, nor of the hub.
                put_number(<long long> (hub.random() % <unsigned long long> step.number) if step.number > 1 else 0)
                continue
            if step.operation == PARTITION:
                state = 0x811C9DC5
                if step.tokens == NULL:
                    state = fnv(state, subject, length)
                for place in range(step.token_count):
                    if step.tokens[place] >= count:
                        return None
                    token = subject + scratch_starts[step.tokens[place]]
                    state = fnv(state, token, scratch_starts[step.tokens[place] + 1] - 1
                                - scratch_starts[step.tokens[place]])
                put_number(<long long> state % step.number if step.number > 0 else 0)
                continue
            if step.first >= count:
                return None
            token = subject + scratch_starts[step.first]
            size = scratch_starts[step.first + 1] - 1 - scratch_starts[step.first]
            if step.operation == TOKEN:
                put(token, size)
            elif step.operation == REST:
                put(token, length - scratch_starts[step.first])
            elif step.operation == SPLIT:
                put_split(token, size, step.text, step.length)
            else:
                put_pieces(step.operation, token, size, step.number)
        return PyBytes_FromStringAndSize(scratch_text, scratch_text_length)

    def rewrite(self, bytes subject not None, Hub hub not None):
        """What a subject becomes that the source matches; None where it has too few tokens. Chance comes from `hub`."""
        return self.apply(PyBytes_AS_STRING(subject), PyBytes_GET_SIZE(subject), hub)
