// Package pcsc holds a card in a reader, over PC/SC: the system's own library,
// pcscd's on Linux, the PCSC framework on macOS, winscard on Windows.
//
// The library is found when the program runs, by its name (docs/decisions/0035), so
// nothing of it is needed to build, and its absence is an error that says what to
// install. There are no callbacks and no blocking waits: whoever waits for a card
// calls again.
//
// A card is held from Connect to Close. Nobody else's command comes in, and the card
// keeps its power, as long as Alive is called at least every two seconds: Windows
// resets a card whose transaction is idle for five. Close resets the card, so that
// nothing that was proved to it outlives the hold.
package pcsc
