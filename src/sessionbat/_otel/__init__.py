"""Turns what other instrumentation sends into SessionBat events; pure, standard library only."""
