# Published subjects that go to other subjects.

from libc.stddef cimport size_t

from broker.core.outbox cimport Hub
from broker.core.sublist cimport Sublist


cdef class Mapping:
    cdef readonly size_t rank       # the smallest that matches decides
    cdef bint rest                  # its source ends with >
    cdef tuple ceilings
    cdef tuple transforms           # a Transform, or None where the share is dropped

    cdef object resolve(self, const char *subject, size_t length)


cdef class Mappings:
    cdef Sublist sources

    cdef Mapping find(self, const char *subject, size_t length)


cdef class Choices:
    cdef tuple ceilings
    cdef tuple results              # the subject; a Transform where chance is in it; None where the share is dropped

    cdef bytes choose(self, const char *subject, size_t length, Hub hub)
