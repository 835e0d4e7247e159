# TLS records between a connection's ciphertext and its plaintext; the library is handed in by address.

cdef class Records:
    cdef object connection        # keeps what the handle points to alive
    cdef void *handle             # the library's SSL
    cdef void *incoming           # its memory BIO of ciphertext that came
    cdef void *outgoing           # its memory BIO of ciphertext that waits to be sent
    cdef readonly Py_ssize_t largest    # most that one of the two has held since they were made: it keeps as much memory
    cdef readonly bint at_end     # the peer has ended its stream, or broken it
    cdef readonly bint broken     # the stream ended with what is no valid record

    cdef int attach(self) except -1
