# From bytes to frames: messages go straight to the plan, everything else becomes an event for the session.

from libc.stddef cimport size_t

from broker.core.message cimport Message
from broker.core.plan cimport Client


cdef class ReadBuffer:
    cdef char *data
    cdef readonly Py_ssize_t size


cdef class Lane:
    cdef readonly Client client
    cdef ReadBuffer shared
    cdef char *carry                # the tail of an unfinished frame; NULL when there is none
    cdef Py_ssize_t carried         # bytes in it
    cdef Py_ssize_t carry_capacity
    cdef Py_ssize_t needed          # bytes that the unfinished frame has in all, where known; else 0
    cdef char *window               # what is parsed now: the shared buffer or the carry
    cdef Py_ssize_t position
    cdef Py_ssize_t end
    cdef bint discarding            # inside the rest of a line that has no meaning
    cdef int discarded_event        # what the line's end is, when it comes
    cdef public bint open           # CONNECT was accepted, or is not needed
    cdef public bint verbose
    cdef public bint pedantic
    cdef public bint accept_headers
    cdef public bint answer_pings   # the first PING is the session's; later ones are answered here
    cdef public Py_ssize_t maximum_payload
    cdef public Py_ssize_t maximum_control_line
    cdef readonly list arguments    # of the event that was returned last
    cdef readonly bytes subject     # of a refused message
    cdef Message held               # a message that may ask for a trace; valid until bytes are received
    cdef readonly bytes line        # verb and arguments of a message that was not taken

    cdef int keep_rest(self) except -1
    cdef int verb(self, char *at, Py_ssize_t left, const char *name, Py_ssize_t length) noexcept
    cdef int word(self, char *at, const char *name, Py_ssize_t length, int event) except -100
    cdef int control(self, char *verb, Py_ssize_t skip, int event, bint split) except -1
    cdef int message(self, char *line, char *stop, bint headers) except -1
    cdef int unfinished_line(self, char *verb, Py_ssize_t skip, char *start, char *stop) except -1
    cdef int event_of_word(self, int event) except -1
    cdef int not_taken(self, int event, bint headers, char *start, Py_ssize_t length) except -1
    cdef int trace(self, char *start, Py_ssize_t length, Message *message) except -1
    cdef int refused(self, int outcome, Message *message) except -1
    cdef int publish_verbosely(self, Message *message) except -1
    cdef int normalise(self, Message *message, char **words, Py_ssize_t *lengths, int count) except -1
