// Verifies an exported log with Go's own packages: golang.org/x/mod/sumdb/note and tlog, as they are.
//
// usage: tlog_verify DIR KEY
//
// The checkpoint's signature under the key; every tile, read and authenticated by tlog's own tile reader; every entry's
// leaf; and, for a sample of records, inclusion proofs and the consistency of older trees.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error, what string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

// tlog's paths are those of Go's checksum database: "tile/8/L/N"; those of tlog-tiles leave the height out.
func path(tile tlog.Tile) string {
	name := strings.TrimPrefix(tile.Path(), "tile/8/")
	if strings.HasPrefix(name, "data/") {
		return "tile/entries/" + strings.TrimPrefix(name, "data/")
	}
	return "tile/" + name
}

type reader struct{ dir string }

func (r reader) Height() int                          { return 8 }
func (r reader) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(r.dir, path(tile)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// origin, size, root: tlog.ParseTree knows the checksum database's origin alone.
func parse(text string) (string, tlog.Tree) {
	lines := strings.Split(text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err, "size")
	root, err := tlog.ParseHash(lines[2])
	check(err, "root")
	return lines[0], tlog.Tree{N: size, Hash: root}
}

func entries(dir string, n int64, width int) [][]byte {
	data, err := os.ReadFile(filepath.Join(dir, path(tlog.Tile{H: 8, L: -1, N: n, W: width})))
	check(err, "entries")
	var all [][]byte
	for len(data) >= 2 {
		length := int(data[0])<<8 | int(data[1])
		all = append(all, data[2:2+length])
		data = data[2+length:]
	}
	return all
}

func main() {
	dir := os.Args[1]
	verifier, err := note.NewVerifier(os.Args[2])
	check(err, "key")
	text, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	check(err, "checkpoint")
	opened, err := note.Open(text, note.VerifierList(verifier))
	check(err, "signature")
	origin, tree := parse(opened.Text)
	if origin != verifier.Name() {
		check(fmt.Errorf("%s", origin), "another log's checkpoint")
	}

	hashes := tlog.TileHashReader(tree, reader{dir})
	var index int64
	for n := int64(0); n*256 < tree.N; n++ {
		width := 256
		if tree.N-n*256 < 256 {
			width = int(tree.N - n*256)
		}
		for _, entry := range entries(dir, n, width) {
			leaf := tlog.RecordHash(entry)
			kept, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
			check(err, "tiles")
			if kept[0] != leaf {
				check(fmt.Errorf("record %d", index), "entry and leaf differ")
			}
			if index%37 == 0 || index == tree.N-1 {
				proof, err := tlog.ProveRecord(tree.N, index, hashes)
				check(err, "inclusion")
				check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf), "inclusion")
				older, err := tlog.TreeHash(index+1, hashes)
				check(err, "older root")
				grown, err := tlog.ProveTree(tree.N, index+1, hashes)
				check(err, "consistency")
				check(tlog.CheckTree(grown, tree.N, tree.Hash, index+1, older), "consistency")
			}
			index++
		}
	}
	if index != tree.N {
		check(fmt.Errorf("%d of %d", index, tree.N), "entries")
	}
	fmt.Printf("%s: %d records\n", origin, index)
}
