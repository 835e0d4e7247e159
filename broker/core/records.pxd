# TLS records between a connection's ciphertext and its plaintext; the library is handed in by address.

cdef class Outlet:
    cdef char *data
    cdef Py_ssize_t length
    cdef object owner             # whose bytes are in it; None for nobody's


cdef class Records:
    cdef Outlet outlet
    cdef object connection        # keeps what the handle points to alive
    cdef void *handle             # the library's SSL
    cdef void *incoming           # its memory BIO of ciphertext that came
    cdef bint lent                # that one reads from a buffer which others read into as well
    cdef object source            # that buffer
    cdef void *outgoing           # its memory BIO of ciphertext that the library has just sealed
    cdef char *aside              # ciphertext that the socket did not take; NULL for none
    cdef Py_ssize_t aside_start   # its first byte that is not sent
    cdef Py_ssize_t aside_length
    cdef readonly bint at_end     # the peer has ended its stream, or broken it
    cdef readonly bint broken     # the stream ended with what is no valid record

    cdef int attach(self) except -1
    cdef int put_in(self, void *incoming) except -1
    cdef int take_outlet(self) except -1
    cdef int draw(self) except -1
    cdef int put_aside(self, Py_ssize_t count) except -1
