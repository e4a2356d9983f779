// Sonde measures networks by speaking the protocols already out there.
package main

func main() {}
