package hsm

/*
#include <stdlib.h>
#include <string.h>

// The parameter structures of the *_ENCRYPT_DATA mechanisms, PKCS#11 v2.40
// mechanisms, section 2.15.2. Unix builds use the natural alignment.
typedef struct { unsigned char *data; unsigned long len; } string_data;
typedef struct { unsigned char iv[16]; unsigned char *data; unsigned long len; } aes_cbc_data;

// The parameter structures of CKM_SP800_108_COUNTER_KDF, PKCS#11 v3.0
// mechanisms, section 2.44, with room for the two pieces that we put in.
typedef struct { unsigned char little_endian; unsigned long bits; } counter_format;
typedef struct { unsigned long type; void *value; unsigned long len; } prf_data;
typedef struct {
	unsigned long prf, count;
	prf_data *data;
	unsigned long additional_count;
	void *additional;
} sp800_108_params;
typedef struct { sp800_108_params params; counter_format format; prf_data data[2]; } counter_kdf;

static counter_kdf *new_counter_kdf(unsigned long prf, unsigned long bits, int after, void *fixed, unsigned long len) {
	counter_kdf *k = calloc(1, sizeof *k);
	if (k == NULL) return NULL;
	k->format.bits = bits;
	k->data[after ? 1 : 0] = (prf_data){1, &k->format, sizeof k->format}; // CK_SP800_108_ITERATION_VARIABLE
	k->data[after ? 0 : 1] = (prf_data){4, fixed, len};                   // CK_SP800_108_BYTE_ARRAY
	k->params.prf = prf;
	k->params.count = 2;
	k->params.data = k->data;
	return k;
}
*/
import "C"

import (
	"unsafe"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// ckmSP800108Counter is CKM_SP800_108_COUNTER_KDF of PKCS#11 v3.0, which
// miekg/pkcs11 does not name.
const ckmSP800108Counter = 0x3AC

// ecbData builds the parameter of CKM_AES_ECB_ENCRYPT_DATA and
// CKM_DES3_ECB_ENCRYPT_DATA, a CK_KEY_DERIVATION_STRING_DATA. miekg/pkcs11 has
// no type for it, and the structure points at its data: that has to stay in C
// memory until the call is over, when free is to be called.
func ecbData(mechanism uint, data []byte) (_ *pkcs11.Mechanism, free func()) {
	p := C.CBytes(data)
	param := C.string_data{data: (*C.uchar)(p), len: C.ulong(len(data))}
	b := C.GoBytes(unsafe.Pointer(&param), C.int(unsafe.Sizeof(param)))
	return pkcs11.NewMechanism(mechanism, b), func() { C.free(p) }
}

// cbcData builds the parameter of CKM_AES_CBC_ENCRYPT_DATA, a
// CK_AES_CBC_ENCRYPT_DATA_PARAMS, with an IV of zeros. See ecbData for free.
func cbcData(mechanism uint, data []byte) (_ *pkcs11.Mechanism, free func()) {
	p := C.CBytes(data)
	param := C.aes_cbc_data{data: (*C.uchar)(p), len: C.ulong(len(data))}
	b := C.GoBytes(unsafe.Pointer(&param), C.int(unsafe.Sizeof(param)))
	return pkcs11.NewMechanism(mechanism, b), func() { C.free(p) }
}

// counterData builds the parameter of CKM_SP800_108_COUNTER_KDF with CMAC, a
// CK_SP800_108_KDF_PARAMS. See ecbData for free.
func counterData(master card.KeyType, kdf counterKDF) (_ *pkcs11.Mechanism, free func()) {
	prf := C.ulong(pkcs11.CKM_AES_CMAC)
	if !master.AES() {
		prf = pkcs11.CKM_DES3_CMAC
	}
	after := C.int(0)
	if kdf.format.After {
		after = 1
	}
	fixed := C.CBytes(kdf.fixed)
	k := C.new_counter_kdf(prf, C.ulong(kdf.format.Bits), after, fixed, C.ulong(len(kdf.fixed)))
	if k == nil {
		panic("out of memory")
	}
	b := C.GoBytes(unsafe.Pointer(k), C.int(unsafe.Sizeof(k.params)))
	return pkcs11.NewMechanism(ckmSP800108Counter, b), func() {
		C.free(unsafe.Pointer(k))
		C.free(fixed)
	}
}
