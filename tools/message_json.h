/* Messages of the wire as JSON for people and scripts: enumerations by name, times as RFC 3339 (created_us becomes
 * created), bytes in hexadecimal, keys and certificates in PEM, pairs as one object. What is empty is left out. */
#ifndef BW_TOOLS_MESSAGE_JSON_H
#define BW_TOOLS_MESSAGE_JSON_H

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

/* A new reference; NULL: out of memory. */
json_t *bw_message_json(const ProtobufCMessage *message);

#endif
