package platform

// Power asks the machine how it is supplied. The zero value is ready; its methods may be called from any goroutine.
//
// On Linux it reads /sys/class/power_supply. Other systems compile and are always plugged in.
type Power struct {
	root string // of the supplies' folders; empty: the system's
}
