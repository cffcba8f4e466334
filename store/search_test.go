package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
)

func openTest(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// serials are those of every page of a search, in order.
func serials(t testing.TB, s *Store, q Query) (list []string, pages int) {
	t.Helper()
	for {
		cards, next, err := s.FindCards(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cards {
			list = append(list, c.Serial)
		}
		if pages++; next == "" {
			return list, pages
		}
		q.After = next
	}
}

func put(t testing.TB, s *Store, cards ...card.Card) {
	t.Helper()
	for part := range slices.Chunk(cards, 5000) {
		puts := make([]CardPut, len(part))
		for i, c := range part {
			puts[i] = CardPut{Card: c, Entry: audit.Entry{}}
		}
		if _, err := s.PutCards(t.Context(), puts, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func person(serial, name string) card.Card {
	return card.Card{Serial: serial, Type: "t", State: "active", Holder: card.Holder{ID: "h" + serial, Name: name, State: "active"}}
}

// What a card was found by once finds it no longer.
func TestSearchFollowsTheCard(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "latchkey.db"))
	put(t, s, person("1", "Anna Ek"))
	put(t, s, person("1", "Anna Berg"))
	for text, want := range map[string]int{"anna": 1, "berg": 1, "ek": 0, "anna ek": 0} {
		if got, _ := serials(t, s, Query{Text: text}); len(got) != want {
			t.Errorf("%q finds %v", text, got)
		}
	}
	var n int
	if err := s.readers.QueryRowContext(t.Context(), `SELECT count(*) FROM card_words`).Scan(&n); err != nil || n != 4 { // 1, anna, berg, h1
		t.Errorf("%d words are left of a card with 4: %v", n, err)
	}
}

// After an upgrade that makes words in another way the cards are found as before.
func TestWordsAreMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	s := openTest(t, path)
	put(t, s, person("1", "Anna Müller"), person("2", "Berta"))
	for _, statement := range []string{
		`UPDATE card_words_made SET folding = 'another'`, `DELETE FROM card_words WHERE serial = '1'`,
		`INSERT INTO card_words VALUES ('other', '2')`, `UPDATE cards SET words = ''`,
	} {
		if err := s.writer.write(t.Context(), func(tx *tx) error { _, err := tx.exec(statement); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, path)
	for text, want := range map[string]string{"muller anna": "1", "berta": "2", "other": ""} {
		if got, _ := serials(t, s, Query{Text: text}); strings.Join(got, " ") != want {
			t.Errorf("%q finds %v", text, got)
		}
	}
}

// Pages hold what whoever asks may see and nothing else, every card once, and are
// full unless that takes too much work.
func TestSearchKeeps(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "latchkey.db"))
	const all = 3*maxShown + 10
	var cards []card.Card
	var want []string
	for i := range all {
		c := person(fmt.Sprintf("%05d", i), "Anna Annason")
		if c.Holder.Unit = "other"; i%100 == 99 || i < 10 {
			c.Holder.Unit = "mine"
			want = append(want, c.Serial)
		}
		cards = append(cards, c)
	}
	put(t, s, cards...)
	mine := func(c card.Card) (bool, error) { return c.Holder.Unit == "mine", nil }
	for _, text := range []string{"", "a", "anna", "annason an", "anna annason 0"} {
		for _, limit := range []int{7, 50, 500} {
			got, pages := serials(t, s, Query{Text: text, Keep: mine, Limit: limit})
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%q by %d: %d cards, want %d", text, limit, len(got), len(want))
			}
			if most := len(want)/limit + all*2/maxShown + 2; pages > most {
				t.Errorf("%q by %d: %d pages, want at most %d", text, limit, pages, most)
			}
		}
	}
	if _, _, err := s.FindCards(t.Context(), Query{Text: "anna", Keep: func(card.Card) (bool, error) { return false, os.ErrInvalid }}); err == nil {
		t.Error("it was not known whether a card may be seen, and the search went on")
	}
}

// TestSearchScansNothing asks SQLite how it carries out the statements of a search.
func TestSearchScansNothing(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "latchkey.db"))
	for name, query := range map[string]string{
		"count": countQuery, "step": stepQuery, "one word": matchQuery(0), "four words": matchQuery(3),
		"no word": allQuery, "not confirmed": unconfirmedQuery,
	} {
		// The parameters that there may be; numbers, so that the statement is the same.
		args := []any{"a", 1, "b", 1, 1, "%", "%", "%"}[:strings.Count(query, "?")]
		rows, err := s.readers.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+query, args...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plan, err := collect(rows, func(row scanner) (text string, err error) {
			var n int
			err = row.Scan(&n, &n, &n, &text)
			return text, err
		})
		if err != nil || len(plan) == 0 {
			t.Fatalf("%s: %v %v", name, plan, err)
		}
		for _, line := range plan {
			// What the subquery of a count gives is at most as much as its bound.
			if strings.Contains(line, "SCAN") && line != "SCAN bounded" || strings.Contains(line, "TEMP B-TREE") || strings.Contains(line, "AUTOMATIC") {
				t.Errorf("%s: %s", name, strings.Join(plan, " | "))
			}
		}
		if !strings.Contains(strings.Join(plan, " "), "SEARCH") {
			t.Errorf("%s uses no key: %s", name, plan)
		}
	}
}

// crowd makes n cards of people whose names are as common as in a country: of few
// first names and more family names, the first of each much more than the last.
func crowd(n int) func(yield func(card.Card) bool) {
	first := strings.Fields(`Anna Lars Maria Erik Karin Anders Margareta Per Elisabeth Johan Eva Nils Kristina Jan Birgitta Karl
		Linnéa Mikael Sara Björn Zoë Åsa Łukasz Fatima Mohammed José Ngọc Søren Jürgen Małgorzata`)
	syllables := strings.Fields(`berg ström lund qvist gren holm dahl ek lind björk sand alm hag ny öst väst nord söder stål kvist mark fors`)
	return func(yield func(card.Card) bool) {
		r := rand.New(rand.NewPCG(1, 2)) // always the same people
		common := func(n int) int { return int(float64(n) * r.Float64() * r.Float64() * r.Float64()) }
		for i := range n {
			k := common(len(syllables) * len(syllables))
			family := syllables[k%len(syllables)] + syllables[k/len(syllables)]
			given := first[common(len(first))]
			id := fmt.Sprintf("u%07d", r.IntN(10_000_000))
			c := card.Card{
				Serial: fmt.Sprintf("GIDS-%08d", i*7), Type: "employee", State: "active", MasterKeyVersion: 1, Source: "idm", SyncedAt: time.Unix(1_800_000_000, 0),
				Holder: card.Holder{
					ID: id, Name: given + " " + strings.ToUpper(family[:1]) + family[1:], EmployeeNumber: fmt.Sprintf("%08d", 10_000_000+i),
					Email: fmt.Sprintf("%s.%s.%s@example.org", fold(given), fold(family), id), Unit: "Unit " + id[:3], Groups: []string{"staff"}, State: "active",
				},
			}
			if !yield(c) {
				return
			}
		}
	}
}

// BenchmarkSearch measures searches of all kinds among 10,000 and 1,000,000 cards:
//
//	go test -run - -bench Search ./store
//
// The million is made once, which takes minutes; LATCHKEY_BENCH_DB names a file
// that keeps it for the next time.
func BenchmarkSearch(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "search.db")
			if kept := os.Getenv("LATCHKEY_BENCH_DB"); kept != "" {
				path = fmt.Sprintf("%s-%d", kept, n)
			}
			s := openTest(b, path)
			fill(b, s, n)
			for _, search := range []struct{ name, text string }{
				{"all", ""},
				{"serial", "GIDS-00042007"}, {"serial-begins", "gids-0004"}, {"employee-number", "10004711"}, {"email", "anna.bergberg"},
				{"first-name", "anna"}, {"family-name", "bergström"}, {"one-letter", "a"},
				{"full-name", "anna bergberg"}, {"two-common", "margareta lundlund"}, {"two-letters", "a b"}, {"rare-pair", "zoe forsfors"},
				{"miss", "nobody"}, {"miss-of-two", "anna nobody"}, {"miss-of-two-common", "anna erik"}, {"miss-of-two-letters", "l z q"},
				{"miss-serial", "GIDS-99999999"},
			} {
				b.Run(search.name, func(b *testing.B) { benchSearch(b, s, Query{Text: search.text}) })
			}
		})
	}
}

func benchSearch(b *testing.B, s *Store, q Query) {
	var times []time.Duration
	found := 0
	for b.Loop() {
		began := time.Now()
		cards, _, err := s.FindCards(b.Context(), q)
		if err != nil {
			b.Fatal(err)
		}
		times, found = append(times, time.Since(began)), len(cards)
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(found), "cards")
}

// fill registers the crowd, unless it is there already.
func fill(b *testing.B, s *Store, n int) {
	var have int
	if err := s.readers.QueryRowContext(b.Context(), `SELECT count(*) FROM cards`).Scan(&have); err != nil {
		b.Fatal(err)
	}
	if have == n {
		return
	}
	began := time.Now()
	var cards []card.Card
	for c := range crowd(n) {
		if cards = append(cards, c); len(cards) == 500 {
			put(b, s, cards...)
			cards = cards[:0]
		}
	}
	put(b, s, cards...)
	took := time.Since(began)
	b.Logf("%d cards registered in %s, %.0f a second", n, took.Round(time.Millisecond), float64(n)/took.Seconds())
}
