package main

func withKernel(t []trial, _ scale) ([]trial, error) { return t, nil }
