package main

func demo([]string) int { return 0 }
