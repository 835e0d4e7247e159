# A trie of subject patterns, matched on C pointers.

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stddef cimport size_t


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* A keyed multiply-and-fold hash: the key is random for each process, so that nobody can choose colliding subjects. */
    static uint64_t natskeep_hash_key = 0x9E3779B97F4A7C15ull;

    static inline uint64_t natskeep_fold(uint64_t a, uint64_t b) {
        __uint128_t product = (__uint128_t) a * b;
        return (uint64_t) product ^ (uint64_t) (product >> 64);
    }

    static inline uint64_t natskeep_hash(const char *text, size_t length) {
        uint64_t state = natskeep_hash_key ^ (length * 0xD6E8FEB86659FD93ull);
        uint64_t word;
        while (length >= 8) {
            memcpy(&word, text, 8);
            state = natskeep_fold(state ^ word, 0xA0761D6478BD642Full) + natskeep_hash_key;
            text += 8;
            length -= 8;
        }
        if (length >= 4) {
            uint32_t low, high;
            memcpy(&low, text, 4);
            memcpy(&high, text + length - 4, 4);
            word = ((uint64_t) high << 32) | low;
        } else {
            word = 0;
            if (length > 0)
                word = (uint64_t) (unsigned char) text[0] << 16
                     | (uint64_t) (unsigned char) text[length >> 1] << 8
                     | (uint64_t) (unsigned char) text[length - 1];
        }
        return natskeep_fold(state ^ word, 0xE7037ED1A0B428DBull ^ natskeep_hash_key);
    }

    static inline void natskeep_set_hash_key(uint64_t key) { natskeep_hash_key = key | 1; }
    """
    uint64_t natskeep_hash(const char *text, size_t length) nogil
    void natskeep_set_hash_key(uint64_t key) nogil
    uint64_t natskeep_fold(uint64_t a, uint64_t b) nogil


cdef struct Node:
    Node *parent
    Node *star              # the child for the token *
    Node *full              # the child for a last token >
    PyObject **values       # owned references
    uint32_t count
    uint32_t capacity
    uint32_t edges          # literal children, which live in the edge table
    uint32_t length         # of the token
    uint64_t hash           # of the token and the parent
    char token[1]


cdef struct Edge:
    uint64_t hash
    Node *child             # NULL: a free place


cdef struct Hits:
    PyObject **items        # borrowed references
    size_t count
    size_t capacity


cdef class Entry:
    cdef uint32_t place     # where it was put among its pattern's values: where to look for it first


cdef class Sublist:
    cdef Node *root
    cdef Edge *edges        # open addressing, one table for the whole trie
    cdef size_t mask        # number of places - 1
    cdef size_t edge_count
    cdef readonly Py_ssize_t size

    cdef Node *child(self, Node *parent, const char *token, size_t length, uint64_t hash) noexcept
    cdef int add_edge(self, Node *child) except -1
    cdef void remove_edge(self, Node *child) noexcept
    cdef Node *walk(self, bytes subject, bint create) except? NULL
    cdef void prune(self, Node *node) noexcept
    cdef void free_special(self, Node *node) noexcept
    cdef int collect(self, const char *subject, size_t length, Hits *hits) except -1
    cdef bint matches(self, const char *subject, size_t length) except -1
