<?php
require __DIR__ . '/checks.php';
require 'Illuminate/autoload.php';
require 'Predis/autoload.php';

use Illuminate\Cache\RedisStore;
use Illuminate\Cache\Repository;
use Illuminate\Container\Container;
use Illuminate\Redis\RedisManager;

$connections = [
    'phpredis' => ['host' => $argv[1], 'port' => 0, 'database' => 1],
    'predis' => ['scheme' => 'unix', 'path' => $argv[1], 'database' => 1],
];

function store_of(string $driver, array $connection): RedisStore
{
    $manager = new RedisManager(new Container(), $driver, ['options' => ['prefix' => 'app_'], 'cache' => $connection]);

    return new RedisStore($manager, 'cache:', 'cache');
}

foreach ($connections as $driver => $connection) {
    $store = store_of($driver, $connection);
    $cache = new Repository($store);

    check("$driver: get set delete", function () use ($cache) {
        same(true, $cache->put('k', ['deep' => [1, 2]], 60));
        same(['deep' => [1, 2]], $cache->get('k'));
        same(true, $cache->has('k'));
        same(true, $cache->forget('k'));
        same(null, $cache->get('k'));
        same(true, $cache->forever('k', 'v'));
        same('v', $cache->pull('k'));
        same('computed', $cache->remember('r', 60, fn () => 'computed'));
    });
    check("$driver: many", function () use ($cache) {
        same(true, $cache->putMany(['a' => 1, 'b' => 'two'], 60));
        same(['a' => '1', 'b' => 'two', 'nope' => null], array_map(fn ($v) => $v === 1 ? '1' : $v, $cache->many(['a', 'b', 'nope'])));
    });
    check("$driver: counters", function () use ($cache) {
        same(1, $cache->increment('n'));
        same(5, $cache->increment('n', 4));
        same(3, $cache->decrement('n', 2));
    });
    check("$driver: add", function () use ($cache) {
        same(true, $cache->add('added', 'first', 60));
        same(false, $cache->add('added', 'second', 60));
        same('first', $cache->get('added'));
    });
    check("$driver: locks", function () use ($store) {
        $mine = $store->lock('l', 10);
        same(true, $mine->get());
        same(false, $store->lock('l', 10)->get());
        same(false, $store->lock('l', 10)->release());
        same(true, $mine->release());
        same(true, $store->lock('l', 10)->get());
        $store->lock('l')->forceRelease();
        same('ran', $store->lock('l', 10)->get(fn () => 'ran'));
    });
    check("$driver: clear", function () use ($cache) {
        $cache->put('k', 'v', 60);
        same(true, $cache->flush());
        same(null, $cache->get('k'));
    });
    // On a connection of its own: phpredis loses its place in the stream after an error reply to SSCAN.
    $tagged = new Repository(store_of($driver, $connection));
    check("$driver: tags", function () use ($tagged) {
        $tagged->tags(['people'])->put('ada', 'x', 60);
        same('x', $tagged->tags(['people'])->get('ada'));
        $tagged->tags(['people'])->flush();
        same(null, $tagged->tags(['people'])->get('ada'));
    });
}
