"""The compiled world: equations over `ops` traced to C, with their derivatives.

`expression` holds traced numbers, `tracer` the `ops` namespace on them, `derivative` their reverse mode,
`emit` writes C functions over lane vectors and `vector_math.h` the functions those call. Needs neither
torch nor, before something is built, a C compiler.
"""
