"""Eight RSA signatures at a time, in the eight lanes of a vector register.

    function    machine code in the making: registers, loops and vectors, by LLVM
    montgomery  numbers of 2080 bits, their product, and the power 65537
    sha384      one block of SHA-384
    pss         EMSA-PSS-VERIFY, and the whole of it: sound(signatures, digests, key)
    machine     the compiler for this processor, and memory for vectors
    engine      all of it behind ``engine.Check``

A processor with AVX-512 IFMA multiplies eight pairs of 52-bit digits in a cycle; libcrypto verifies one
signature after the other and has no use for that. Only public operations are here, so time may depend on
what is computed.
"""
