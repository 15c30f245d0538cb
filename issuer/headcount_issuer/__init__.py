"""The issuer: checks that someone is a person and blind-signs one pledge of theirs in each scope.

    config, cli                  one TOML table, one command
    attester, attesters/, mail   who is a person
    session, issuance            who has proved it, and the one signature
    keys, tags, store, schema    what is kept
    enrolment, notices           what is said in public
    app                          HTTP

It never learns what a pledge says, and it never imports the verifier or the ledger.
"""
