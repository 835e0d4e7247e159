# How much may be sent in a second.

from libc.stddef cimport size_t


cdef class Meter:
    cdef double message_rate        # a second; 0 is unlimited
    cdef double byte_rate
    cdef double messages            # what may be sent at once; below 0 is owed
    cdef double bytes
    cdef readonly double since      # monotonic seconds at which both were up to date

    cdef bint charge(self, size_t size, double now) noexcept
    cpdef double owed(self, double now)
