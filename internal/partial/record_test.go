package partial

import (
	"reflect"
	"strings"
	"testing"
)

var goodRecords = map[string]Record{
	`{"version":1,"total":-1,"held":[]}`: {Total: -1, Held: Ranges{}},
	`{"version":1,"total":0,"held":[]}`:  {Held: Ranges{}},
	`{"version":1,"etag":"\"a\"","lastModified":"` + noon + `","date":"` + hourOn + `","total":25165824,"held":[[0,8388608],[16777216,25165824]]}`: {
		Validator: Validator{`"a"`, noon, hourOn}, Total: 25165824, Held: Ranges{{0, 8388608}, {16777216, 25165824}},
	},
}

func TestRecord(t *testing.T) {
	for text, want := range goodRecords {
		got, err := ParseRecord([]byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		if encoded := string(want.Encode()); encoded != text+"\n" {
			t.Errorf("encoded as %s, want %s", encoded, text)
		}
	}
}

func TestRecordRefused(t *testing.T) {
	for text, why := range map[string]string{
		``:                                     "EOF",
		`null`:                                 "missing",
		`[]`:                                   "array",
		`{}`:                                   "missing",
		`{"version":2,"total":-1,"held":[]}`:   "version 2",
		`{"version":1,"held":[]}`:              "missing",
		`{"version":1,"total":null,"held":[]}`: "missing",
		`{"version":1,"total":9}`:              "missing",
		`{"version":1,"total":9,"held":null}`:  "missing",
		`{"version":1,"total":-2,"held":[]}`:   "-2",
		`{"version":1,"total":9,"held":[[0,10]]}`:             "byte 10 of 9",
		`{"version":1,"total":9,"held":[[-1,3]]}`:             "range",
		`{"version":1,"total":9,"held":[[0,5],[4,9]]}`:        "range",
		`{"version":1,"total":9,"held":[],"url":"http://"}`:   "unknown field",
		`{"version":1,"total":9,"held":[]}{}`:                 "follows",
		`{"version":1,"total":9,"held":[]`:                    "EOF",
		`{"version":1,"etag":"a","total":9,"held":[]}`:        "entity tag",
		`{"version":1,"etag":"\"a\nb\"","total":9,"held":[]}`: "entity tag",
	} {
		if r, err := ParseRecord([]byte(text)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: got %+v, %v; want an error of %s", text, r, err, why)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	for text := range goodRecords {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"version":1,"total":9,"held":[[0,5],[4,9]]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRecord(data)
		if err != nil {
			return
		}
		if r.Total < -1 || r.Total >= 0 && r.Held.End() > r.Total {
			t.Errorf("%+v is out of bounds", r)
		}
		for i, a := range r.Held {
			if a[0] < 0 || a[1] <= a[0] || i > 0 && a[0] <= r.Held[i-1][1] {
				t.Errorf("%v is no set", r.Held)
			}
		}
		if again, err := ParseRecord(r.Encode()); err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%+v came back as %+v, %v", r, again, err)
		}
	})
}
