package task_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// TestAppendJSON: specs, records and events are written as json.Marshal writes them, whatever stands in them. Each field
// of the types is filled, so that one that is added and not written is seen.
func TestAppendJSON(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		filled := []float64{1, .5, .1}[i%3] // of the fields
		var s task.Spec
		var r task.Record
		fill(rnd, filled, reflect.ValueOf(&s))
		fill(rnd, filled, reflect.ValueOf(&r))
		same(t, &s, s.AppendJSON)
		same(t, &r, r.AppendJSON)
	}
}

// TestAppendJSONOfEvents: the envelope's fields, then the detail's.
func TestAppendJSONOfEvents(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 1000 {
		for _, d := range []any{new(task.DownloadProgress), new(task.UploadProgress), new(task.Gap), new(task.WillRetry), new(task.Invalidated)} {
			ev := task.Event{Detail: task.EventsCompleted{}}
			p := []float64{1, .5, 0}[i%3]
			for _, field := range []any{&ev.Session, &ev.Task, &ev.Sequence, &ev.Time} {
				if rnd.Float64() < p {
					fill(rnd, p, reflect.ValueOf(field))
				}
			}
			fill(rnd, p, reflect.ValueOf(d))
			ev.Detail = reflect.ValueOf(d).Elem().Interface().(task.Detail)
			b, err := ev.AppendJSON(nil)
			if err != nil {
				t.Fatal(err)
			}
			var fields, detail map[string]json.RawMessage
			if err := json.Unmarshal(b, &fields); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			alone, _ := json.Marshal(ev.Detail)
			json.Unmarshal(alone, &detail)
			for name, want := range detail {
				if string(fields[name]) != string(want) {
					t.Errorf("%s of %s is %s, want %s", name, b, fields[name], want)
				}
			}
			var back task.Event
			if err := json.Unmarshal(b, &back); err != nil || !back.Time.Equal(ev.Time) || back.Task != ev.Task || back.Sequence != ev.Sequence {
				t.Errorf("%s came back as %+v, %v", b, back, err)
			}
		}
	}
}

// TestAppendJSONFails where json.Marshal does.
func TestAppendJSONFails(t *testing.T) {
	for name, s := range map[string]task.Spec{
		"no number":          {Priority: task.Priority(math.NaN())},
		"infinite":           {Priority: task.Priority(math.Inf(1))},
		"a year of 5 digits": {EarliestBegin: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"in what is seldom":  {Download: &task.DownloadSpec{}, Request: task.Request{Body: &task.Body{Source: &task.Source{ModTime: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}}}},
	} {
		if _, err := json.Marshal(&s); err == nil {
			t.Errorf("%s: json.Marshal writes it", name)
		}
		if b, err := s.AppendJSON(nil); err == nil {
			t.Errorf("%s became %s", name, b)
		}
	}
}

func same(t *testing.T, v any, appendJSON func([]byte) ([]byte, error)) {
	t.Helper()
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := appendJSON([]byte("before"))
	if err != nil || string(got) != "before"+string(want) {
		t.Fatalf("%s, %v\nwant %s", got, err, want)
	}
}

// fill gives each exported field of what v points to a value, with the probability p.
func fill(rnd *rand.Rand, p float64, v reflect.Value) {
	v = v.Elem()
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(rnd.Int64N(1e10), rnd.Int64N(2)*rnd.Int64N(1e9)).In(time.FixedZone("", rnd.IntN(24)*1800))))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{"", "plain", "http://h/a?b=c&d", "\"\\/<>", "ünïcode \u2028", "\x00\n\x7f", "not\xffUTF-8"}[rnd.IntN(7)])
		if p == 1 && v.Len() == 0 {
			v.SetString("x")
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(rnd.Int64() - rnd.Int64())
	case reflect.Uint64:
		v.SetUint(rnd.Uint64())
	case reflect.Float64:
		v.SetFloat([]float64{.25, 1, -2, 1e-7, 1e21, 123456.789, rnd.Float64(), math.MaxFloat64}[rnd.IntN(8)])
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(rnd, p, v)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && rnd.Float64() < p {
				fill(rnd, p, v.Field(i).Addr())
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(rnd, p, v.Index(0).Addr())
		fill(rnd, p, v.Index(1).Addr())
	case reflect.Array:
		for i := range v.Len() {
			fill(rnd, p, v.Index(i).Addr())
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()), reflect.New(v.Type().Elem())
			fill(rnd, p, key)
			fill(rnd, p, value)
			v.SetMapIndex(key.Elem(), value.Elem())
		}
	default:
		panic("a field of type " + v.Type().String())
	}
}
