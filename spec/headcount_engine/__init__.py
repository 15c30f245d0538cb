"""Fast arithmetic for the roles: RSA by libcrypto or gmpy2, Ed25519 by libsodium, one acceptance rule.

Floor 0 beside headcount_spec, which is the oracle of everything here. Unlike the specification this
package draws randomness (blinding) and chooses by what the machine has.
"""
