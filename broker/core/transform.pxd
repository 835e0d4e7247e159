# Subjects rewritten by a compiled destination.

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from broker.core.outbox cimport Hub


cdef enum Operation:
    TEXT = 0
    TOKEN = 1               # one token of the subject
    REST = 2                # the tokens from one on, with their dots
    PARTITION = 3           # a hash of some tokens, modulo
    RANDOM = 4
    SPLIT = 5               # a token at a separator
    SPLIT_LEFT = 6          # a token in two, counted from its beginning
    SPLIT_RIGHT = 7
    SLICE_LEFT = 8          # a token in pieces of a size, counted from its beginning
    SLICE_RIGHT = 9


cdef struct Step:
    int operation
    uint32_t first          # the token that is read; for REST the first of them
    long long number        # a size, or a number of partitions
    const char *text        # of TEXT and SPLIT: belongs to an object in `kept`
    size_t length
    uint32_t *tokens        # of PARTITION: the tokens that are hashed; NULL for the whole subject
    uint32_t token_count


cdef class Transform:
    cdef Step *steps
    cdef uint32_t step_count
    cdef list kept          # the objects that the steps point into
    cdef readonly bint chancy   # two results for one subject may differ

    cdef bytes apply(self, const char *subject, size_t length, Hub hub)
