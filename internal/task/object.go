package task

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// object appends JSON to b, byte for byte as json.Marshal writes it, and without reflection: that was a third of what it
// costs to queue a task in the daemon. What is seldom there is left to json.Marshal.
type object struct {
	b   []byte
	err error // the first; what follows it is of no account
}

func (o *object) begin() { o.b = append(o.b, '{') }
func (o *object) end()   { o.b = append(o.b, '}') }

// name begins a field. Names need no escapes.
func (o *object) name(name string) {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

func (o *object) text(name, v string) {
	o.name(name)
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			o.value(v)
			return
		}
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, v...)
	o.b = append(o.b, '"')
}

func (o *object) integer(name string, v int64) {
	o.name(name)
	o.b = strconv.AppendInt(o.b, v, 10)
}

func (o *object) unsigned(name string, v uint64) {
	o.name(name)
	o.b = strconv.AppendUint(o.b, v, 10)
}

func (o *object) boolean(name string, v bool) {
	o.name(name)
	o.b = strconv.AppendBool(o.b, v)
}

func (o *object) float(name string, v float64) {
	if !(v >= 1e-6 && v < 1e21) { // which is written otherwise, or not at all
		o.other(name, v)
		return
	}
	o.name(name)
	o.b = strconv.AppendFloat(o.b, v, 'f', -1, 64)
}

func (o *object) time(name string, v time.Time) {
	o.name(name)
	o.b = append(o.b, '"')
	b, err := v.AppendText(o.b)
	if err != nil {
		o.fail(err)
		return
	}
	o.b = append(b, '"')
}

// The same, of what is left out where it is zero.

func (o *object) optionalText(name, v string) {
	if v != "" {
		o.text(name, v)
	}
}

func (o *object) optionalInteger(name string, v int64) {
	if v != 0 {
		o.integer(name, v)
	}
}

func (o *object) optionalUnsigned(name string, v uint64) {
	if v != 0 {
		o.unsigned(name, v)
	}
}

func (o *object) optionalBoolean(name string, v bool) {
	if v {
		o.boolean(name, v)
	}
}

func (o *object) optionalTime(name string, v time.Time) {
	if !v.IsZero() {
		o.time(name, v)
	}
}

// other is any field.
func (o *object) other(name string, v any) {
	o.name(name)
	o.value(v)
}

func (o *object) value(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		o.fail(err)
	}
	o.b = append(o.b, b...)
}

// fields is those of v, a struct.
func (o *object) fields(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		o.fail(err)
		return
	}
	if b = b[1 : len(b)-1]; len(b) > 0 {
		o.b = append(append(o.b, ','), b...)
	}
}

func (o *object) fail(err error) {
	if o.err == nil {
		o.err = fmt.Errorf("it cannot be written as JSON: %w", err)
	}
}
