# From WebSocket frames to the bytes inside them (RFC 6455, section 5).

from libc.stdint cimport uint64_t


cdef class Unframer:
    cdef readonly bint masked           # whether the peer must mask its frames
    cdef readonly bint deflate          # whether compressed messages were agreed on
    cdef public Py_ssize_t maximum      # bytes that a compressed message may have
    cdef bytes source                   # what arrived last
    cdef Py_ssize_t position            # up to where it is taken
    cdef unsigned char header[14]       # a frame's header, as far as it has arrived
    cdef int header_length
    cdef uint64_t remaining             # payload bytes of the frame that have not arrived
    cdef bint in_frame                  # behind the header of a data frame
    cdef bint in_message                # more fragments of the message will follow
    cdef bint final
    cdef bint compressed                # of the message
    cdef bint keyed                     # the frame is masked
    cdef unsigned char key[4]
    cdef unsigned int phase             # which byte of the key is next
    cdef unsigned char small[125]       # payload of a control frame
    cdef int small_length
    cdef bint in_control
    cdef char *gathered                 # a compressed message, as far as it has arrived
    cdef Py_ssize_t gathered_length
    cdef Py_ssize_t gathered_capacity
    cdef readonly int event             # what ended the last `take`
    cdef readonly int opcode            # of the control frame
    cdef public bytes body              # of the control frame, or of the compressed message; whoever uses it empties it
    cdef readonly str problem

    cdef int begin(self) except -1
    cdef int violation(self, str problem) except -1
    cdef int finish_control(self) except -1
    cdef int gather(self, const unsigned char *start, Py_ssize_t count) except -2
    cdef void unmask(self, const unsigned char *start, unsigned char *to, Py_ssize_t count) noexcept
