/* The field tables of contacts. Data only. */
#include "contact.h"
#include "metadata.h"

static const char *const sorts[] = { "created_at", "-created_at", "updated_at", "-updated_at",
                                     NULL };

#define AT(member) offsetof(struct contact, member)
static const struct field contact_fields[] = {
    { "id", F_UUID, AT(id), 0, 0, 0, NULL, "Contact identifier", NULL },
    { "name", F_STR, AT(name), 0, 0, 0, NULL, "Name", "\"Zoë Müller\"" },
    { "company", F_STR, AT(company), F_NULLABLE, 0, 0, NULL, "Company", "\"Acme GmbH\"" },
    { "title", F_STR, AT(title), F_NULLABLE, 0, 0, NULL, "Position or form of address",
      "\"Head of Support\"" },
    { "emails", F_STRS, AT(emails), 0, 0, 0, NULL, "E-mail addresses, the main one first",
      "[\"zoe@acme.example\"]" },
    { "phones", F_STRS, AT(phones), 0, 0, 0, NULL, "Phone numbers as written, the main one first",
      "[\"+49 30 1234567\"]" },
    { "tags", F_STRS, AT(tags), 0, 0, 0, NULL, "Tags", "[\"vip\"]" },
    { "metadata", F_OBJECT, AT(metadata), 0, 0, 0, NULL, "Custom metadata",
      "{\"crm_id\":\"C-17\"}" },
    { "created_by", F_UUID, AT(created_by), F_NULLABLE, 0, 0, NULL,
      "Id of the API key or user that created it", NULL },
    { "version", F_INT, AT(version), 0, 0, 0, NULL,
      "Grows by one or more with each change; the ETag is made from it", "1" },
    { "created_at", F_TIME, AT(created_ms), 0, 0, 0, NULL, "When it was created", NULL },
    { "updated_at", F_TIME, AT(updated_ms), 0, 0, 0, NULL, "When it last changed", NULL },
    { "terms", F_STR, AT(terms), F_SECRET, 0, 0, NULL, NULL, NULL },
};
const struct rec rec_contact =
    REC("Contact", struct contact, contact_fields, "A person that tickets are about.");

#define IN(member) offsetof(struct contact_new, member)
#define IN_REST                                                                                    \
    { "company", F_STR,     IN(company),    F_NULLABLE | F_SINGLE_LINE, 0, CONTACT_NAME_MAX,       \
      NULL,      "Company", "\"Acme GmbH\"" },                                                     \
        { "title",   F_STR,                                                                        \
          IN(title), F_NULLABLE | F_SINGLE_LINE,                                                   \
          0,         CONTACT_NAME_MAX,                                                             \
          NULL,      "Position or form of address",                                                \
          NULL },                                                                                  \
        { "emails",                                                                                \
          F_STRS,                                                                                  \
          IN(emails),                                                                              \
          F_NULLABLE,                                                                              \
          0,                                                                                       \
          CONTACT_EMAILS_MAX,                                                                      \
          NULL,                                                                                    \
          "E-mail addresses, the main one first; repeats (letter case ignored) are dropped",       \
          "[\"zoe@acme.example\"]" },                                                              \
        { "phones",                                                                                \
          F_STRS,                                                                                  \
          IN(phones),                                                                              \
          F_NULLABLE,                                                                              \
          0,                                                                                       \
          CONTACT_PHONES_MAX,                                                                      \
          NULL,                                                                                    \
          "Phone numbers, the main one first; repeats are dropped",                                \
          "[\"+49 30 1234567\"]" },                                                                \
        { "tags",     F_STRS,                                                                      \
          IN(tags),   F_NULLABLE,                                                                  \
          0,          TAGS_MAX,                                                                    \
          NULL,       "Tags of 1 to 64 characters; repeats (letter case ignored) are dropped",     \
          "[\"vip\"]" },                                                                           \
    {                                                                                              \
        "metadata", F_OBJECT, IN(metadata), F_NULLABLE, 0, METADATA_MAX, NULL, "Custom metadata",  \
            NULL                                                                                   \
    }

static const struct field new_fields[] = {
    { "name", F_STR, IN(name), F_REQUIRED | F_SINGLE_LINE, 1, CONTACT_NAME_MAX, NULL, "Name",
      "\"Zoë Müller\"" },
    IN_REST,
};
const struct rec rec_contact_new =
    REC("ContactNew", struct contact_new, new_fields, "A contact to create.");
const struct rec rec_contact_patch = REC("ContactPatch", struct contact_new, new_fields,
                                         "Changes to a contact (JSON merge patch: null clears).");

/* The same where nothing is required; a null clears, as in a patch. */
static const struct field merged_fields[] = {
    { "name", F_STR, IN(name), F_SINGLE_LINE, 1, CONTACT_NAME_MAX, NULL, "Name", NULL },
    IN_REST,
};
static const struct rec rec_merged =
    REC("ContactMergeFields", struct contact_new, merged_fields,
        "What the contact is to have in the end, whatever the contacts had.");

#define M(member) offsetof(struct contact_merge, member)
static const struct field merge_fields[] = {
    { "from", F_STRS, M(from), F_REQUIRED, 1, CONTACT_MERGE_MAX, NULL,
      "Ids of the contacts that go into this one", NULL },
    { "fields", F_REC, M(fields), 0, 0, 0, NULL,
      "What the contact is to have in the end, whatever the contacts had", NULL, &rec_merged },
};
const struct rec rec_contact_merge =
    REC("ContactMerge", struct contact_merge, merge_fields, "Duplicates of a contact.");

#define Q(member) offsetof(struct contact_query, member)
static const struct field query_fields[] = {
    { "q", F_STR, Q(q), 0, 1, 200, NULL,
      "Up to 8 words; each must begin a word of name, company, e-mail addresses or phone numbers, "
      "letter case and accents ignored. Newest first",
      NULL },
    { "email", F_STR, Q(email), 0, 1, EMAIL_MAX, NULL,
      "Only with this e-mail address, letter case ignored", NULL },
    { "phone", F_STR, Q(phone), 0, 1, PHONE_MAX, NULL,
      "Only with this phone number; without a plus in front both forms are found", NULL },
    { "company", F_STR, Q(company), 0, 1, CONTACT_NAME_MAX, NULL,
      "Only of this company, letter case ignored", NULL },
    { "tag", F_STR, Q(tag), 0, 1, TAG_MAX, NULL, "Only with this tag, letter case ignored", NULL },
    { "created_after", F_TIME, Q(created_after), 0, 0, 0, NULL, "Created at or after this time",
      NULL },
    { "created_before", F_TIME, Q(created_before), 0, 0, 0, NULL, "Created before this time",
      NULL },
    { "updated_after", F_TIME, Q(updated_after), 0, 0, 0, NULL, "Changed at or after this time",
      NULL },
    { "updated_before", F_TIME, Q(updated_before), 0, 0, 0, NULL, "Changed before this time",
      NULL },
    { "sort", F_ENUM, Q(sort), 0, 0, 0, sorts,
      "Order; a leading minus is newest first (default -created_at, the only one with q)", NULL },
    LISTING_QUERY_ROWS(struct contact_query),
};
const struct rec rec_contact_query =
    REC("ContactQuery", struct contact_query, query_fields, "Filters of the contact list.");
