# A message on its way, and what is changed of it where it leaves its namespace.

from libc.stddef cimport size_t


cdef struct Message:
    const char *subject
    size_t subject_length
    const char *reply
    size_t reply_length     # 0: no reply subject
    const char *tail        # "[reply ][header-size ]size\r\n<header><payload>\r\n", as it goes to receivers
    size_t tail_length
    const char *body        # header and payload
    size_t size             # of the body
    Py_ssize_t header       # size of the header block; -1 for a message without one


cdef bint may_ask_for_trace(const char *header, size_t length, bint parents) noexcept
cdef bytes reply_of(Message *message)
cdef bytes edited(Message *message, Message *made, bytes reply, const char *name, bytes line, bint first)
